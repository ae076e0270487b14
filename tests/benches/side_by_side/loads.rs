//! The loads, all of them by `maitred bench`, and what one measurement tells.

use std::ffi::OsString;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use maitred_tests::harness::program;
use serde_json::Value;

use super::samples::Figures;
use super::server::{Server, Usage, command, memory};

/// How long a server is loaded before anything counts.
const WARM_UP: Duration = Duration::from_millis(700);

/// A load, as arguments of `maitred bench`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

pub(crate) const SHORT: Load = Load {
    path: "/",
    arguments: &["-c", "64", "--close"],
};
pub(crate) const KEEP_ALIVE: Load = Load {
    path: "/",
    arguments: &["-c", "64"],
};
pub(crate) const PIPELINED: Load = Load {
    path: "/",
    arguments: &["-c", "64", "-p", "10"],
};
/// The lesson's: `autocannon -c 1000 -p 10`.
pub(crate) const LESSON: Load = Load {
    path: "/busy",
    arguments: &["-c", "1000", "-p", "10"],
};
pub(crate) const BUSY: Load = Load {
    path: "/busy",
    arguments: &["-c", "16"],
};

impl Load {
    /// Puts `server` under this load for `time`, and returns what came of it.
    ///
    /// # Errors
    ///
    /// The client cannot be started, or writes no figures.
    pub(crate) fn measure(self, server: &Server, time: Duration) -> Result<Figures, String> {
        self.run(server, WARM_UP)?;
        let processes = server.processes();
        let before = server.usage(&processes);
        let told = self.run(server, time)?;
        let after = server.usage(&processes);
        Ok(figures(&told, server, (before, after)))
    }

    /// Runs the client once, for its figures as it writes them.
    pub(crate) fn run(self, server: &Server, time: Duration) -> Result<Value, String> {
        let file = server.home().join("figures");
        let mut words: Vec<OsString> = vec![program("maitred").into(), "bench".into()];
        words.extend(self.arguments.iter().map(Into::into));
        words.extend(["--json".into(), file.clone().into()]);
        words.extend(["-d".into(), format!("{}ms", time.as_millis()).into()]);
        words.push(format!("http://{}{}", server.address, self.path).into());
        let quiet = command(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        quiet.map_err(|error| format!("the load client: {error}"))?;
        let text = fs::read_to_string(&file).map_err(|error| format!("its figures: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("its figures: {error}"))
    }
}

fn figures(told: &Value, server: &Server, (before, after): (Usage, Usage)) -> Figures {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let totals = &told["totals"];
    let ok = number(&totals["ok"]);
    let each = |used: Duration| used.as_secs_f64() * 1e6 / ok;
    let latency = |name| number(&told["latency_ms"][name]);
    let front = server.root();
    Figures {
        cpu: each(after.all - before.all),
        front: each(after.front - before.front),
        rate: ok / number(&told["elapsed_seconds"]),
        p50: latency("p50"),
        p99: latency("p99"),
        p99_9: latency("p99_9"),
        failed: number(&totals["requests"]) - ok,
        timeouts: number(&totals["timeout"]),
        memory: memory(front) as f64,
    }
}
