//! What a command is about: an app's name, all apps, or one worker; and how many workers.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use maitred::INSTANCES_MAX;
use serde::{Deserialize, Serialize};

/// Longest name of an app: it stands in tables, in paths and before log lines.
const NAME_LEN_MAX: usize = 64;

/// The word that means every app, and so can be no app's name.
pub(crate) const ALL: &str = "all";

/// The name of an app.
///
/// Letters, digits and `._-`, so that it needs no quoting in a shell, a path or a URL. It is
/// not purely digits, since digits name a worker by its slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct AppName(String);

impl AppName {
    /// Returns the name of a program's app if nobody chose one: its file's stem.
    ///
    /// What a name may not have becomes `-`.
    pub(crate) fn of_program(program: &Path) -> Self {
        let stem = program.file_stem().unwrap_or_default().to_string_lossy();
        let fit = |c: char| if is_fit(c) { c } else { '-' };
        let name: String = stem.chars().map(fit).take(NAME_LEN_MAX).collect();
        // Only a stem of digits, dots or dashes, or none, is still no name.
        name.parse().unwrap_or_else(|_| {
            let rest = name.trim_start_matches(['-', '.']);
            let name = format!("app-{rest}").chars().take(NAME_LEN_MAX).collect();
            Self(name)
        })
    }

    /// Returns the name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_fit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl FromStr for AppName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = if text.is_empty() || text.len() > NAME_LEN_MAX {
            format!("has {} characters, not 1 to {NAME_LEN_MAX}", text.len())
        } else if !text.chars().all(is_fit) {
            "has other characters than A-Z a-z 0-9 . _ -".into()
        } else if text.chars().all(|c| c.is_ascii_digit()) {
            "is a number, which would mean a worker's slot; add a letter".into()
        } else if text == ALL {
            "means all apps; choose another".into()
        } else if text.starts_with(['.', '-']) {
            "begins with a dot or a dash, as hidden files and options do".into()
        } else {
            return Ok(Self(text.into()));
        };
        Err(format!("the name '{}' {wrong}", text.escape_default()))
    }
}

impl TryFrom<String> for AppName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> Self {
        name.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a command is about, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Every app.
    All,
    /// One app.
    App(AppName),
    /// One worker, by its slot.
    Slot(u32),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == ALL {
            return Ok(Self::All);
        }
        if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            let slot = text.parse();
            return slot.map(Self::Slot).map_err(|_| {
                format!(
                    "there is no slot {text}: slots are 0 to {}",
                    INSTANCES_MAX - 1
                )
            });
        }
        text.parse().map(Self::App)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str(ALL),
            Self::App(name) => name.fmt(f),
            Self::Slot(slot) => slot.fmt(f),
        }
    }
}

/// How many workers an app is to have, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Typed", into = "String")]
pub(crate) enum Target {
    /// So many.
    Exactly(u32),
    /// So many more.
    More(u32),
    /// So many fewer.
    Fewer(u32),
    /// One for each processor.
    Max,
}

/// JSON writes numbers without quotes, and people forget the quotes around `+1` less often.
#[derive(Deserialize)]
#[serde(untagged)]
enum Typed {
    Number(i64),
    Text(String),
}

impl TryFrom<Typed> for Target {
    type Error = String;

    fn try_from(typed: Typed) -> Result<Self, String> {
        match typed {
            Typed::Number(number) => number.to_string().parse(),
            Typed::Text(text) => text.parse(),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        match target {
            Target::Exactly(count) => count.to_string(),
            Target::More(count) => format!("+{count}"),
            Target::Fewer(count) => format!("-{count}"),
            Target::Max => "max".into(),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'+' | b'-') => text.split_at(1),
            _ => ("", text),
        };
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let count = digits.parse().ok().filter(|_| is_number);
        let count = count.filter(|count| (1..=INSTANCES_MAX).contains(count));
        match (sign, count) {
            ("+", Some(count)) => Ok(Self::More(count)),
            ("-", Some(count)) => Ok(Self::Fewer(count)),
            (_, Some(count)) => Ok(Self::Exactly(count)),
            (_, None) => Err(format!(
                "'{}' is no number of workers: give 1 to {INSTANCES_MAX}, +N, -N or max; to have \
                 none, stop the app",
                text.escape_default()
            )),
        }
    }
}

impl Target {
    /// Returns how many workers an app shall have that has so many now.
    ///
    /// # Errors
    ///
    /// What is wrong: that would be none, or too many.
    pub(crate) fn count_from(self, now: u32) -> Result<u32, String> {
        // Counts the affinity mask and the cgroup's quota, too. If the system does not tell,
        // one worker is what surely fits.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        self.for_processors(now, u32::try_from(processors).unwrap_or(INSTANCES_MAX))
    }

    fn for_processors(self, now: u32, processors: u32) -> Result<u32, String> {
        let wanted = match self {
            Self::Exactly(count) => count,
            Self::More(count) => now.saturating_add(count),
            Self::Fewer(count) => now.saturating_sub(count),
            Self::Max => processors.clamp(1, INSTANCES_MAX),
        };
        if (1..=INSTANCES_MAX).contains(&wanted) {
            return Ok(wanted);
        }
        let change = String::from(self);
        Err(format!(
            "it has {now} workers, and {change} would make {wanted}: 1 to {INSTANCES_MAX} are \
             possible; to have none, stop the app"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_needs_no_quoting() {
        for name in ["a", "shop", "my.app_2-b", "7up", &"x".repeat(64)] {
            assert_eq!(name.parse::<AppName>().unwrap().as_str(), name);
        }
        for (name, wrong) in [
            ("", "0 characters"),
            (&"x".repeat(65), "65 characters"),
            ("a b", "other characters"),
            ("a/b", "other characters"),
            ("ä", "other characters"),
            ("a\n", r"'a\n'"),
            ("12", "slot"),
            ("all", "all apps"),
            ("..", "dot"),
            ("-i", "dash"),
        ] {
            let refusal = name.parse::<AppName>().unwrap_err();
            assert!(refusal.contains(wrong), "{name:?}: {refusal}");
        }
    }

    #[test]
    fn every_program_has_a_name() {
        for (program, name) in [
            ("/srv/shop", "shop"),
            ("./server.js", "server"),
            ("my app.bin", "my-app"),
            ("/bin/42", "app-42"),
            ("-", "app-"),
            ("/srv/.hidden", "app-hidden"),
            ("/", "app-"),
            ("all", "app-all"),
        ] {
            let found = AppName::of_program(Path::new(program));
            assert_eq!(found.as_str(), name, "{program}");
            assert_eq!(
                found.as_str().parse::<AppName>(),
                Ok(found.clone()),
                "{program}"
            );
        }
        let long = AppName::of_program(Path::new(&"7".repeat(80)));
        assert_eq!(long.as_str().len(), 64);
    }

    #[test]
    fn digits_are_a_slot() {
        assert_eq!("all".parse(), Ok(Subject::All));
        assert_eq!("3".parse(), Ok(Subject::Slot(3)));
        assert_eq!("shop".parse(), Ok(Subject::App("shop".parse().unwrap())));
        assert!("99999999999".parse::<Subject>().is_err());
        assert!("".parse::<Subject>().is_err());
    }

    #[test]
    fn a_target_counts_count_from() {
        for (text, wanted) in [
            ("3", Ok(3)),
            ("+1", Ok(5)),
            ("-3", Ok(1)),
            ("max", Ok(2)),
            ("-4", Err("would make 0")),
            ("+1024", Err("would make 1028")),
        ] {
            let found = text.parse::<Target>().unwrap().for_processors(4, 2);
            match (found, wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{text}"),
                (Err(refusal), Err(part)) => assert!(refusal.contains(part), "{refusal}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        for text in [
            "",
            "+",
            "-",
            "0",
            "+0",
            "1.5",
            "1025",
            "++1",
            "+-1",
            "MAX",
            "99999999999",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn json_has_targets_as_texts_or_numbers() {
        for (json, target) in [
            ("3", Target::Exactly(3)),
            ("-1", Target::Fewer(1)),
            (r#""3""#, Target::Exactly(3)),
            (r#""+2""#, Target::More(2)),
            (r#""max""#, Target::Max),
        ] {
            assert_eq!(serde_json::from_str::<Target>(json).unwrap(), target);
        }
        assert_eq!(serde_json::to_string(&Target::More(2)).unwrap(), r#""+2""#);
        for json in ["1.5", "null", "{}", "99999999999999999999"] {
            assert!(serde_json::from_str::<Target>(json).is_err(), "{json}");
        }
    }
}
