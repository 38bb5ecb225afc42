// Hears that something changed: from server-sent events, and from a clock while these cannot be had.
const POLL_MS = 5_000;
const AGAIN_MS = 30_000;
const SPREAD_MS = 400;

// `known` is what the page was made of; with the first difference it is out of date.
export function listen(url, known, refresh) {
  const sign = document.getElementById("live");
  const text = sign?.querySelector(".live-text");
  let source = null;
  let timer = null;
  let polling = null;

  function say(state, words) {
    if (!sign || sign.dataset.state === state) return;
    sign.dataset.state = state;
    text.textContent = words;
  }

  // However many pages hear of the same change, they do not all ask at once.
  function changed() {
    clearTimeout(timer);
    timer = setTimeout(() => refresh().then((reached) => { if (!reached) say("away", "Server away"); }), Math.random() * SPREAD_MS);
  }

  function poll() {
    if (polling) return;
    const ask = async () => {
      const reached = document.hidden || (await refresh());
      if (polling) say(reached ? "polling" : "away", reached ? "Every 5 s" : "Server away");
    };
    ask();
    polling = setInterval(ask, POLL_MS);
  }

  function stopPolling() {
    clearInterval(polling);
    polling = null;
  }

  function connect() {
    source = new EventSource(url, { withCredentials: true });
    source.addEventListener("open", () => { stopPolling(); say("live", "Live"); });
    source.addEventListener("changed", (event) => {
      if (event.data !== known) changed();
      known = event.data;
    });
    source.addEventListener("error", () => {
      // The browser connects again by itself, unless it was told that there is nothing to be had.
      if (source.readyState !== EventSource.CLOSED) { say("away", "Connecting …"); poll(); return; }
      poll();
      setTimeout(connect, AGAIN_MS);
    });
  }

  connect();
  document.addEventListener("visibilitychange", () => { if (!document.hidden) changed(); });
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}
