// Runs before the first paint, so that nobody sees the other colours flash.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const chosen = localStorage.getItem("theme");
    root.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
    window.dispatchEvent(new Event("themechange"));
  };
  root.classList.add("scripted");
  dark.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  window.changeTheme = () => {
    localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
    apply();
  };
  apply();
})();
