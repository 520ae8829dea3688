"use strict";
// After signing in, come back to the page that was refused.
for (const link of document.querySelectorAll("a[data-return]")) {
  const here = location.pathname + location.search;
  if (!here.startsWith("/auth/") && here.length < 2000) link.search = "?" + new URLSearchParams({ return_to: here });
}
