class ModelContract:
    pass
