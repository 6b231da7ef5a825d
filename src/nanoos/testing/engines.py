class EngineContract:
    pass
