// Replaces the overview every few seconds while the page is looked at and nothing in it is focused.
const place = document.getElementById("overview");
const status = document.getElementById("live");
const counts = () => [...place.querySelectorAll(".counts div")].map((entry) => entry.innerText.replace(/\s+/g, " ")).join(", ");

async function refresh() {
  if (document.hidden || place.contains(document.activeElement)) return;
  try {
    const answer = await fetch("/overview");
    if (answer.status === 401) { location.assign("/login"); return; }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const before = counts();
    place.innerHTML = await answer.text();
    if (counts() !== before) status.textContent = counts(); // spoken only when something changed
  } catch {
    status.textContent = "The server does not answer; trying again.";
  }
}
setInterval(refresh, 4000);
