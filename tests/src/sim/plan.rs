//! What a seed stands for: the size of the house and what may go wrong in it.

use maitred_core::dispatch::PolicyName;

use super::random::Random;

/// One history's parameters. Times are virtual microseconds, chances are in percent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all of this and every later draw comes from.
    pub seed: u64,
    /// How connections are spread at first.
    pub policy: PolicyName,
    /// How many addresses clients have; one more has none.
    pub addresses: u64,
    /// Listeners.
    pub servers: u64,
    /// Workers at the start.
    pub workers: u64,
    /// The widest window a worker may get.
    pub window_max: u64,
    /// Each server's bound on waiting connections.
    pub pending_max: usize,
    /// Clients that come.
    pub clients: u64,
    /// The time within which they come, and in which faults strike.
    pub rush: u64,
    /// The longest a healthy worker takes for one handoff.
    pub ack_delay_max: u64,
    /// Blows of fate.
    pub strikes: u64,
    /// Which kinds of fate: drawn from evenly, so a kind may be listed twice.
    pub fates: Vec<Fate>,
    /// How often a worker rejects what it was sent.
    pub reject_chance: u64,
    /// How often the shell accepts one more after it was told to pause.
    pub race_chance: u64,
    /// How often a dead worker gets a successor.
    pub respawn_chance: u64,
    /// A mistake of the shell: it reports a death before it has read the last acks.
    pub reports_deaths_early: bool,
}

/// Something that happens to the house now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A worker dies, perhaps with acks on the way.
    Crash,
    /// A worker stops doing anything, until it is killed for it.
    Hang,
    /// A worker is asked to finish what it has and go.
    Drain,
    /// A worker acks what it was never sent.
    Lie,
    /// One more worker is started.
    ScaleUp,
    /// A worker closes one of its listeners, and may open it again.
    Relisten,
    /// A server is closed under its clients, or opened again.
    Shut,
    /// A server's connections are spread in another way.
    Respread,
    /// A worker gets another weight.
    Weigh,
}

impl Fate {
    const ALL: [Self; 9] = [
        Self::Crash,
        Self::Hang,
        Self::Drain,
        Self::Lie,
        Self::ScaleUp,
        Self::Relisten,
        Self::Shut,
        Self::Respread,
        Self::Weigh,
    ];
}

/// Draws a policy under which the master accepts.
pub fn any_policy(random: &mut Random) -> PolicyName {
    let ours = PolicyName::ALL.into_iter();
    let ours: Vec<_> = ours.filter(|policy| policy.accepts_in_master()).collect();
    random.pick(&ours).unwrap_or(PolicyName::Rr)
}

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6d61_6974_7265_6400);
        let fates: Vec<_> = Fate::ALL
            .into_iter()
            .filter(|_| random.chance(40))
            .collect();
        let clients = random.between(3, 30);
        Self {
            seed,
            policy: any_policy(&mut random),
            addresses: random.pick(&[1, 2, 30]).unwrap_or(1),
            servers: random.between(1, 3),
            workers: random.between(1, 5),
            window_max: random.between(1, 5),
            pending_max: random.pick(&[0, 1, 2, 8]).unwrap_or(1),
            clients,
            // From a burst to clients that come one by one.
            rush: random.pick(&[1, 10, 100, 1000]).unwrap_or(1) * clients,
            ack_delay_max: random.pick(&[1, 20, 300]).unwrap_or(1),
            strikes: if fates.is_empty() { 0 } else { random.below(8) },
            fates,
            reject_chance: random.pick(&[0, 0, 10, 60]).unwrap_or(0),
            race_chance: random.pick(&[0, 20, 80]).unwrap_or(0),
            respawn_chance: random.pick(&[50, 100]).unwrap_or(100),
            reports_deaths_early: false,
        }
    }
}
