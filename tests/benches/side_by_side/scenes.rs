//! What is measured: each scene has cases that take turns.

use super::contenders::{App, Contender};
use super::lasting::Held;
use super::loads::{BUSY, KEEP_ALIVE, LESSON, Load, PIPELINED, SHORT};
use super::options::Options;
use super::samples::Figures;
use super::special;

/// Cases that are compared with one another.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What it is, for the page.
    pub(crate) title: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// One row of a scene's table.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    subject: Subject,
}

#[derive(Debug)]
enum Subject {
    /// A server under a load, with so many workers, and so many open connections that idle.
    Server(Contender, Load, usize, usize),
    /// So many processes that only turn in a loop; their turns count as requests.
    Loops(usize),
    /// A master's memory after so many connections.
    Memory(u64),
    /// From accept to the first byte that a worker reads.
    Handoff(App),
}

impl Case {
    /// Measures it once.
    ///
    /// # Errors
    ///
    /// It cannot run here; in words.
    pub(crate) fn measure(&self, options: &Options) -> Result<Figures, String> {
        let time = options.duration();
        match self.subject {
            Subject::Server(contender, load, workers, idle) => {
                let server = contender.start(workers, special::turns_of(load))?;
                let held = Held::open(server.address, idle)?;
                let figures = load.measure(&server, time);
                drop(held);
                figures
            }
            Subject::Loops(count) => special::loops(count, time),
            Subject::Memory(connections) => special::memory_after(connections),
            Subject::Handoff(app) => special::handoff(app),
        }
    }
}

const RR: Contender = rust("rr");
const NODE: Contender = Contender::Maitred {
    policy: "rr",
    app: App::Node,
};

const fn rust(policy: &'static str) -> Contender {
    Contender::Maitred {
        policy,
        app: App::Rust,
    }
}

fn case(name: &'static str, contender: Contender, load: Load) -> Case {
    server(name, contender, load, 2, 0)
}

fn server(
    name: &'static str,
    contender: Contender,
    load: Load,
    workers: usize,
    idle: usize,
) -> Case {
    Case {
        name,
        subject: Subject::Server(contender, load, workers, idle),
    }
}

/// Returns all scenes, in the order of the page.
pub(crate) fn all() -> Vec<Scene> {
    vec![
        short(),
        keep_alive(),
        pipelined(),
        lesson(),
        gain(),
        workers(),
        open(),
        memory(),
        handoff(),
    ]
}

/// Returns their names.
pub(crate) fn names() -> Vec<&'static str> {
    all().iter().map(|scene| scene.name).collect()
}

fn short() -> Scene {
    let plain = Contender::Maitred {
        policy: "rr",
        app: App::NodePlain,
    };
    let kernel_node = Contender::Maitred {
        policy: "kernel",
        app: App::Node,
    };
    Scene {
        name: "short",
        title: "Short connections: a connection for each request, 64 clients, two workers",
        cases: vec![
            case("maitred rr", RR, SHORT),
            case("maitred shared", rust("shared"), SHORT),
            case("maitred kernel", rust("kernel"), SHORT),
            case("SO_REUSEPORT", Contender::Reuseport, SHORT),
            case("one process", Contender::Single, SHORT),
            case("nginx", Contender::Nginx, SHORT),
            case("maitred rr, Node", NODE, SHORT),
            case("maitred rr, Node, no preload", plain, SHORT),
            case("maitred kernel, Node", kernel_node, SHORT),
            case(
                "Node cluster",
                Contender::NodeCluster { shared: false },
                SHORT,
            ),
            case(
                "Node cluster, shared",
                Contender::NodeCluster { shared: true },
                SHORT,
            ),
            case("Node, one process", Contender::NodeSingle, SHORT),
        ],
    }
}

fn keep_alive() -> Scene {
    Scene {
        name: "keep-alive",
        title: "Keep-alive: 64 connections that stay, two workers",
        cases: requests(KEEP_ALIVE),
    }
}

fn pipelined() -> Scene {
    Scene {
        name: "pipelined",
        title: "Pipelined: 64 connections with ten requests in flight each, two workers",
        cases: requests(PIPELINED),
    }
}

fn requests(load: Load) -> Vec<Case> {
    vec![
        case("maitred rr", RR, load),
        case("SO_REUSEPORT", Contender::Reuseport, load),
        case("nginx", Contender::Nginx, load),
        case("maitred rr, Node", NODE, load),
        case(
            "Node cluster",
            Contender::NodeCluster { shared: false },
            load,
        ),
    ]
}

fn lesson() -> Scene {
    Scene {
        name: "lesson",
        title: "The lesson's load: 1,000 connections with ten requests in flight each, a handler \
                that computes for some 0.4 ms, two workers",
        cases: vec![
            case("maitred rr", RR, LESSON),
            case("maitred rr, Node", NODE, LESSON),
            case(
                "Node cluster",
                Contender::NodeCluster { shared: false },
                LESSON,
            ),
            case("Node, one process", Contender::NodeSingle, LESSON),
        ],
    }
}

fn gain() -> Scene {
    Scene {
        name: "gain",
        title: "What a second process gains: a handler that computes for 20 ms, 16 connections, \
                beside processes that do nothing but turn in a loop",
        cases: vec![
            server("one worker", RR, BUSY, 1, 0),
            server("two workers", RR, BUSY, 2, 0),
            Case {
                name: "one loop",
                subject: Subject::Loops(1),
            },
            Case {
                name: "two loops",
                subject: Subject::Loops(2),
            },
        ],
    }
}

fn workers() -> Scene {
    Scene {
        name: "workers",
        title: "Short connections with more and more workers, 64 clients",
        cases: vec![
            server("rr, 2 workers", RR, SHORT, 2, 0),
            server("rr, 8 workers", RR, SHORT, 8, 0),
            server("rr, 32 workers", RR, SHORT, 32, 0),
            server("rr, 128 workers", RR, SHORT, 128, 0),
            server("shared, 2 workers", rust("shared"), SHORT, 2, 0),
            server("shared, 8 workers", rust("shared"), SHORT, 8, 0),
            server("shared, 32 workers", rust("shared"), SHORT, 32, 0),
            server("shared, 128 workers", rust("shared"), SHORT, 128, 0),
        ],
    }
}

fn open() -> Scene {
    Scene {
        name: "open",
        title: "Short connections beside others that stay open and idle, 64 clients, two workers",
        cases: vec![
            server("100 open", RR, SHORT, 2, 100),
            server("1,000 open", RR, SHORT, 2, 1000),
            server("8,000 open", RR, SHORT, 2, 8000),
        ],
    }
}

fn memory() -> Scene {
    Scene {
        name: "memory",
        title: "The master's memory, with eight workers",
        cases: vec![
            Case {
                name: "after 8,000",
                subject: Subject::Memory(8_000),
            },
            Case {
                name: "after 80,000",
                subject: Subject::Memory(80_000),
            },
        ],
    }
}

fn handoff() -> Scene {
    Scene {
        name: "handoff",
        title: "From accept to the first byte that the worker has read, one client at a time",
        cases: vec![
            Case {
                name: "Rust worker",
                subject: Subject::Handoff(App::Rust),
            },
            Case {
                name: "Node worker",
                subject: Subject::Handoff(App::Node),
            },
        ],
    }
}
