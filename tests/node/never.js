// Runs, and never listens.
setInterval(() => {}, 60_000);
