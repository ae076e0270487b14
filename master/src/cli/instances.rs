//! How many workers to run: `-i`.

use std::str::FromStr;
use std::thread;

use maitred::INSTANCES_MAX;

/// A number of workers as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instances {
    /// So many.
    Exactly(u32),
    /// One for each processor but so many.
    AllBut(u32),
}

impl Instances {
    /// Returns the number for a machine with so many processors: never 0, never absurd.
    fn for_processors(self, processors: u32) -> u32 {
        match self {
            Self::Exactly(count) => count,
            Self::AllBut(spared) => processors.saturating_sub(spared).clamp(1, INSTANCES_MAX),
        }
    }

    /// Returns the number for this process, here and now.
    pub(crate) fn count(self) -> u32 {
        // Counts the affinity mask and the cgroup's quota, too. If the system does not tell,
        // one worker is what surely fits.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        self.for_processors(u32::try_from(processors).unwrap_or(INSTANCES_MAX))
    }
}

impl FromStr for Instances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = || {
            format!(
                "give 1 to {INSTANCES_MAX} workers, `max` or 0 for one a processor, or -N for \
                 one a processor but N"
            )
        };
        if text == "max" {
            return Ok(Self::AllBut(0));
        }
        let number: i64 = text.parse().map_err(|_| wanted())?;
        let size = u32::try_from(number.unsigned_abs()).map_err(|_| wanted())?;
        match (size, number > 0) {
            (INSTANCES_MAX.., _) if size > INSTANCES_MAX => Err(wanted()),
            (size, true) => Ok(Self::Exactly(size)),
            (size, false) => Ok(Self::AllBut(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for (text, on_four) in [
            ("1", 1),
            ("4", 4),
            ("1024", 1024),
            ("max", 4),
            ("0", 4),
            ("-1", 3),
            ("-3", 1),
            ("-4", 1),
            ("-1000", 1),
        ] {
            let instances: Instances = text.parse().unwrap();
            assert_eq!(instances.for_processors(4), on_four, "{text}");
        }
    }

    #[test]
    fn what_is_no_sane_number_is_refused() {
        for text in [
            "",
            "x",
            "1.5",
            "1025",
            "-1025",
            "99999999999999999999",
            "MAX",
            "--",
        ] {
            let refusal = text.parse::<Instances>().unwrap_err();
            assert!(refusal.contains("1 to 1024"), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_machine_of_any_size_gets_a_number_within_bounds() {
        assert_eq!(
            Instances::AllBut(0).for_processors(4096),
            maitred::INSTANCES_MAX
        );
        assert!((1..=maitred::INSTANCES_MAX).contains(&Instances::AllBut(0).count()));
    }
}
