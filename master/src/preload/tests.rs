//! The file is written once and whole; the options are what a real Node takes them for.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::*;

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

fn names(directory: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn it_is_written_once_for_its_owner_alone() {
    let place = TempDir::new().unwrap();
    let path = write(place.path()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), PRELOAD);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    let first = inode(&path);
    assert_eq!(write(place.path()).unwrap(), path);
    assert_eq!(inode(&path), first);
    assert_eq!(names(place.path()), [path.file_name().unwrap()]);
}

#[test]
fn what_is_not_ours_is_replaced_and_not_followed() {
    let place = TempDir::new().unwrap();
    let path = write(place.path()).unwrap();
    let precious = place.path().join("precious");
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::write(&path, "process.exit(1)").unwrap(),
        &|| std::fs::write(&path, "x".repeat(PRELOAD.len())).unwrap(),
        &|| std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap(),
        &|| {
            std::fs::rename(&path, &precious).unwrap();
            symlink(&precious, &path).unwrap();
        },
    ];
    for spoil in spoil {
        spoil();
        assert_eq!(write(place.path()).unwrap(), path);
        let found = std::fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file() && found.mode() & 0o777 == MODE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), PRELOAD);
    }
    assert!(precious.exists());
}

#[test]
fn a_directory_that_cannot_be_written_keeps_no_draft() {
    let place = TempDir::new().unwrap();
    let path = write(place.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    // A directory of that name cannot be replaced by a file.
    std::fs::create_dir(&path).unwrap();
    assert!(write(place.path()).is_err());
    assert_eq!(names(place.path()), [path.file_name().unwrap()]);
    assert!(write(&place.path().join("absent")).is_err());
}

fn check(user: Option<&str>, file: &str, expected: Option<[&str; 2]>) {
    let variables = variables(user.map(OsStr::new), Path::new(file));
    let values = variables.map(|pairs| pairs.map(|(_, value)| value));
    let expected = expected.map(|values| values.map(OsString::from));
    assert_eq!(values, expected, "{user:?} {file}");
}

#[test]
fn options_begin_with_ours_and_carry_what_they_were() {
    check(None, "/p.cjs", Some([r#"--require "/p.cjs""#, ""]));
    check(Some(""), "/p.cjs", Some([r#"--require "/p.cjs""#, "="]));
    check(
        Some("--no-warnings"),
        "/p.cjs",
        Some([r#"--require "/p.cjs" --no-warnings"#, "=--no-warnings"]),
    );
    check(
        None,
        r#"/a b/"c"\d.cjs"#,
        Some([r#"--require "/a b/\"c\"\\d.cjs""#, ""]),
    );
}

#[test]
fn options_with_which_node_does_not_start_stay_as_they_are() {
    for user in [r#"--title="x"#, r#"""""#, r#""\"#, r#"--title="x\""#] {
        check(Some(user), "/p.cjs", None);
    }
    for user in [r"\", r#"--title="a\"b""#, r#"--title="a b""#, r#""""#] {
        assert!(options(Some(OsStr::new(user)), Path::new("/p.cjs")).is_some());
    }
    let broken = OsStr::from_bytes(b"--title=\xff");
    assert!(variables(Some(broken), Path::new("/p.cjs")).is_none());
    assert!(variables(None, Path::new(broken)).is_none());
}

#[expect(clippy::disallowed_methods, reason = "it is no worker, and ends here")]
fn node(variables: &[(&str, OsString)], script: &str) -> Output {
    let mut command = Command::new("node");
    command.env_remove(NODE_OPTIONS).env_remove(CARRIER);
    let variables = variables.iter().map(|(name, value)| (name, value));
    command.envs(variables).args(["-p", script]);
    command.output().unwrap()
}

#[test]
fn node_takes_any_path_and_has_the_users_options_back() {
    let place = TempDir::new().unwrap();
    for (number, name) in ["plain", "a b", r#"q"u'o"#, r"back\slash\", "--é\t%$`"]
        .into_iter()
        .enumerate()
    {
        let directory = place.path().join(format!("{number}{name}"));
        std::fs::create_dir(&directory).unwrap();
        let path = write(&directory).unwrap();
        for user in [None, Some(""), Some(r#"--title="a \"b\"""#)] {
            let given = variables(user.map(OsStr::new), &path).unwrap();
            let script = format!(
                "[process.env.{NODE_OPTIONS} ?? 'none', '{CARRIER}' in process.env, process.execArgv.length].join('|')"
            );
            let output = node(&given, &script);
            let expected = format!("{}|false|2\n", user.unwrap_or("none"));
            let seen = String::from_utf8_lossy(&output.stdout);
            assert_eq!(seen, expected, "{directory:?}: {output:?}");
        }
    }
}

/// The judgement of what Node refuses is the same as Node's.
#[test]
fn node_starts_with_exactly_the_options_that_are_whole() {
    for user in [
        "",
        r#"""""#,
        r#"--title="a"#,
        r#"--title="a\"b""#,
        r"--title=a\",
        r#"--title="\"#,
    ] {
        let output = node(&[(NODE_OPTIONS, user.into())], "1");
        assert_eq!(
            output.status.success(),
            is_whole(user),
            "{user}: {output:?}"
        );
    }
}
