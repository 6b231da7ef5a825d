// The page works without this: it says that work goes on, and takes a file that is dropped on it.
const form = document.querySelector("form.kpoints");
const file = form.elements.namedItem("file");
const busy = document.getElementById("busy");
const button = form.querySelector("button");
const choose = (source) => { form.querySelector(`input[name=source][value=${source}]`).checked = true; };

form.addEventListener("submit", () => {
  button.setAttribute("aria-disabled", "true"); // not disabled: it would lose the focus
  busy.textContent = form.elements.namedItem("source").value === "database" ? "Asking the database …" : "Predicting …";
});
button.addEventListener("click", (event) => {
  if (button.getAttribute("aria-disabled")) event.preventDefault();
});
addEventListener("pageshow", () => { // also when the page comes back from the history
  button.removeAttribute("aria-disabled");
  busy.textContent = "";
});
addEventListener("dragover", (event) => {
  if (event.dataTransfer.types.includes("Files")) event.preventDefault();
});
addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  file.files = event.dataTransfer.files;
  choose("file");
  file.focus();
});
