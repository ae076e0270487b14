//! What is counted, what was counted when the figures were last written down, and the bounds.

use std::fmt;

use maitred_core::dispatch::PolicyName;

use crate::{channel, dispatcher};

/// How far above the noted figure a count may be. New compilers and other versions of the C
/// library move it by some percent, and a careless line in the path by more than this.
const MARGIN_PERCENT: u64 = 15;

/// How much a connection may cost under `rr` with many workers, in percent of that with few.
///
/// The ring makes it the same; the rest is for the tables of workers, which are larger.
const MANY_PERCENT: u64 = 130;

const FEW: u32 = 2;
const MANY: u32 = 128;
const LONE: u32 = 1;
const SEVERAL: u32 = 4;

/// The noted figures: instructions a turn, on x86_64, in the profile `bench`.
///
/// A case that has none here crosses its bound, so that none is forgotten.
const NOTED: [(Case, u64); 14] = [
    (Case::Dispatch(PolicyName::Rr, FEW), 2_846),
    (Case::Dispatch(PolicyName::Rr, MANY), 2_847),
    (Case::Dispatch(PolicyName::LeastConnections, FEW), 2_764),
    (Case::Dispatch(PolicyName::LeastConnections, MANY), 19_770),
    (Case::Dispatch(PolicyName::Sticky, FEW), 2_629),
    (Case::Dispatch(PolicyName::Sticky, MANY), 6_862),
    (Case::Dispatch(PolicyName::Weighted, FEW), 2_603),
    (Case::Dispatch(PolicyName::Weighted, MANY), 9_414),
    (Case::Dispatch(PolicyName::Kernel, FEW), 2_846),
    (Case::Dispatch(PolicyName::Kernel, MANY), 2_847),
    (Case::Connections(LONE), 2_150),
    (Case::Connections(SEVERAL), 4_807),
    (Case::Acks(LONE), 997),
    (Case::Acks(SEVERAL), 2_002),
];

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// A connection's way through the dispatcher, with so many workers.
    Dispatch(PolicyName, u32),
    /// A frame with so many connections.
    Connections(u32),
    /// A frame with so many acks.
    Acks(u32),
}

impl Case {
    /// Returns all cases, in the order in which they are counted.
    pub(crate) fn all() -> Vec<Self> {
        let policies = PolicyName::ALL.into_iter();
        let dispatched = policies
            .filter(|policy| policy.accepts_in_master())
            .flat_map(|policy| [FEW, MANY].map(|workers| Self::Dispatch(policy, workers)));
        let connections = [LONE, SEVERAL].map(Self::Connections);
        let acks = [LONE, SEVERAL].map(Self::Acks);
        dispatched.chain(connections).chain(acks).collect()
    }

    /// Makes ready for the case, and returns one turn of it.
    pub(crate) fn prepare(self) -> Box<dyn FnMut()> {
        match self {
            Self::Dispatch(policy, workers) => Box::new(dispatcher::turn(policy, workers)),
            Self::Connections(messages) => Box::new(channel::connections(messages)),
            Self::Acks(messages) => Box::new(channel::acks(messages)),
        }
    }

    fn noted(self) -> u64 {
        let found = NOTED.iter().find(|(case, _)| *case == self);
        found.map_or(0, |(_, noted)| *noted)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatch(policy, workers) => write!(formatter, "{policy}, {workers} workers"),
            Self::Connections(messages) => write!(formatter, "frame of {messages} connections"),
            Self::Acks(messages) => write!(formatter, "frame of {messages} acks"),
        }
    }
}

/// A figure and what it may be at most.
#[derive(Debug)]
pub(crate) struct Figure {
    what: String,
    is: u64,
    bound: u64,
}

impl Figure {
    /// A count beside the noted one.
    fn counted(what: impl fmt::Display, is: u64, noted: u64) -> Self {
        Self {
            what: what.to_string(),
            is,
            bound: noted * (100 + MARGIN_PERCENT) / 100,
        }
    }

    pub(crate) fn is_crossed(&self) -> bool {
        self.is > self.bound
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, is, bound } = self;
        write!(formatter, "{what:<38} {is:>7}, at most {bound:>7}")
    }
}

/// Returns every figure that has a bound. `counts` are those of the cases, a turn each.
pub(crate) fn figures(counts: &[(Case, u64)]) -> Vec<Figure> {
    let count = |wanted: Case| {
        let found = counts.iter().find(|(case, _)| *case == wanted);
        found.map_or(0, |(_, count)| *count)
    };
    // What a frame costs however many are in it would hide what each of them does.
    let further = |frame: fn(u32) -> Case, of: &dyn Fn(Case) -> u64| {
        let (several, lone) = (of(frame(SEVERAL)), of(frame(LONE)));
        several.saturating_sub(lone) / u64::from(SEVERAL - LONE)
    };
    let each = |what: &str, frame: fn(u32) -> Case| {
        Figure::counted(what, further(frame, &count), further(frame, &Case::noted))
    };
    let counted = counts
        .iter()
        .map(|(case, is)| Figure::counted(case, *is, case.noted()));
    let mut figures: Vec<Figure> = counted.collect();
    figures.push(each(
        "each further connection of a frame",
        Case::Connections,
    ));
    figures.push(each("each further ack of a frame", Case::Acks));
    let [few, many] = [FEW, MANY].map(|workers| count(Case::Dispatch(PolicyName::Rr, workers)));
    figures.push(Figure {
        what: format!("rr, {MANY} workers in % of {FEW}"),
        is: (many * 100).div_ceil(few.max(1)),
        bound: MANY_PERCENT,
    });
    figures
}
