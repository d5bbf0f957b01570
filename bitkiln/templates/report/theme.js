"use strict";
{
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const store = (theme) => { try { localStorage.setItem("bitkiln-theme", theme); } catch { /* a page without storage */ } };
  const stored = () => { try { return localStorage.getItem("bitkiln-theme"); } catch { return null; } };
  const show = (theme) => { root.style.colorScheme = theme || ""; };
  const now = () => root.style.colorScheme || (dark.matches ? "dark" : "light");
  show(stored());
  document.getElementById("theme").addEventListener("click", () => {
    const theme = now() === "dark" ? "light" : "dark";
    show(theme);
    store(theme);
  });
}
