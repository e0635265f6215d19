use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/samples");

fn samples(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(SAMPLES).join(folder)).unwrap();
    let files: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{folder} has samples");
    files.into_iter().collect()
}

fn load_file(path: &Path) -> Result<Options, ConfigError> {
    load(
        &Flags {
            config: Some(path.to_owned()),
            ..Flags::default()
        },
        &Environment::new(),
    )
}

fn load_text(text: &str) -> Result<Options, ConfigError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    load_file(file.path())
}

fn load_variable(name: &str, value: &str) -> Result<Options, ConfigError> {
    load(
        &Flags::default(),
        &Environment::from([(name.to_owned(), value.to_owned())]),
    )
}

#[test]
fn the_defaults_are_a_valid_configuration() {
    let options = load(&Flags::default(), &Environment::new()).unwrap();
    assert_eq!(options.mqtt, "127.0.0.1:1883".parse().unwrap());
    assert_eq!(options.http.address, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(options.data, Path::new("./data"));
    assert_eq!(
        options.schema.hash(),
        Schema::parse(MUSIC_SCHEMA).unwrap().hash()
    );
}

#[test]
fn every_default_says_why() {
    let mut previous = "";
    for line in DEFAULTS.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            let explained = previous.starts_with('#') || previous.contains(" = ");
            assert!(explained, "no comment above: {line}");
        }
        previous = line;
    }
}

#[test]
fn valid_samples_are_taken() {
    for path in samples("valid") {
        load_file(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn invalid_samples_are_refused_with_the_message_that_they_expect() {
    for path in samples("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} expects nothing", path.display()));
        let error = match load_file(&path) {
            Ok(_) => panic!("{} is taken", path.display()),
            Err(error) => error.to_string(),
        };
        assert!(
            error.contains(expected),
            "{}:\n{error}\nlacks\n{expected}",
            path.display()
        );
    }
}

#[test]
fn flags_win_over_the_environment_that_over_the_file_that_over_the_defaults() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        file.path(),
        "[mqtt]\naddress = '127.0.0.1:1'\n[http]\naddress = '127.0.0.1:1'\n[log]\nlevel = 'warn'\n",
    )
    .unwrap();
    let environment = Environment::from([
        (
            "SYNCLINE__MQTT__ADDRESS".to_owned(),
            "127.0.0.1:2".to_owned(),
        ),
        (
            "SYNCLINE__HTTP__ADDRESS".to_owned(),
            "127.0.0.1:2".to_owned(),
        ),
        ("UNRELATED__KEY".to_owned(), "x".to_owned()),
    ]);
    let flags = Flags {
        config: Some(file.path().to_owned()),
        mqtt: Some("127.0.0.1:3".to_owned()),
        ..Flags::default()
    };
    let options = load(&flags, &environment).unwrap();
    assert_eq!(options.mqtt.port(), 3);
    assert_eq!(options.http.address.port(), 2);
    assert_eq!(options.log_level, "warn");
    assert_eq!(options.data, Path::new("./data"));
}

#[test]
fn the_environment_sets_every_kind() {
    let hosts = load_variable("SYNCLINE__HTTP__ALLOWED_HOSTS", "a.example, b.example").unwrap();
    assert_eq!(hosts.http.allowed_hosts, ["a.example", "b.example"]);
    let window = load_variable("SYNCLINE__STORE__MARK_WINDOW", "2_048").unwrap();
    assert_eq!(window.store.mark_window, 2_048);
    let path = load_variable("SYNCLINE__STORE__DATA", "123").unwrap();
    assert_eq!(path.data, Path::new("123"));
    assert!(load_variable("SYNCLINE__AUTH__ANONYMOUS_ON_PUBLIC_ADDRESSES", "true").is_ok());
}

#[test]
fn a_wrong_variable_is_named() {
    let cases = [
        (
            "SYNCLINE__STORE__MARK_WINDOW",
            "many",
            "SYNCLINE__STORE__MARK_WINDOW: `store.mark_window` must be an integer",
        ),
        (
            "SYNCLINE__STORE__MARK_WINDWO",
            "1",
            "SYNCLINE__STORE__MARK_WINDWO: `store.mark_windwo` is not a key; [store] has data, mark_window,",
        ),
        (
            "SYNCLINE__MQTT__ADDRESS",
            "localhost:1883",
            "SYNCLINE__MQTT__ADDRESS: `mqtt.address` must be an IP address and a port",
        ),
        (
            "SYNCLINE__LIMITS__RECEIVE_MAXIMUM",
            "70000",
            "SYNCLINE__LIMITS__RECEIVE_MAXIMUM: `limits.receive_maximum` must be from 1 to 65535",
        ),
    ];
    for (name, value, expected) in cases {
        let error = load_variable(name, value).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_wrong_line_is_named() {
    let error = load_text("[mqtt]\n\n# a comment\nadress = 'x'\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(":4: `mqtt.adress` is not a key; [mqtt] has address"),
        "{error}"
    );
    let error = load_text("[mqtt]\naddress = 1883\n")
        .unwrap_err()
        .to_string();
    assert!(error.contains(":2: `mqtt.address` must be text"), "{error}");
    let error = load_text("[mqtt]\n[limits\n").unwrap_err().to_string();
    assert!(error.contains(":2: "), "{error}");
}

#[test]
fn a_contradiction_names_both_keys_where_they_were_set_and_the_remedy() {
    let error = load_text("[limits]\nreceive_maximum = 2_000\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`limits.receive_maximum` (2000, "),
        "{error}"
    );
    assert!(
        error.contains(":2) must be at most `store.mark_window` (1024, default)"),
        "{error}"
    );
    assert!(
        error.contains("Lower `limits.receive_maximum` or raise `store.mark_window`."),
        "{error}"
    );
}

#[test]
fn a_public_address_is_refused_with_the_line_to_add() {
    for (section, address) in [
        ("mqtt", "0.0.0.0:1883"),
        ("http", "[::]:8080"),
        ("http", "192.168.1.2:80"),
    ] {
        let text = format!("[{section}]\naddress = '{address}'\n");
        let error = load_text(&text).unwrap_err().to_string();
        assert!(
            error.contains(&format!(":2: `{section}.address` is {address}")),
            "{error}"
        );
        assert!(
            error.contains("anonymous_on_public_addresses = true"),
            "{error}"
        );
        let allowed = format!("{text}[auth]\nanonymous_on_public_addresses = true\n");
        assert!(load_text(&allowed).is_ok());
    }
}

#[test]
fn a_file_that_is_missing_or_a_schema_that_is_wrong_is_named() {
    let missing = load_file(Path::new("no/such.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("--config: cannot read no/such.toml"),
        "{missing}"
    );
    let missing = load_variable("SYNCLINE__STORE__SCHEMA", "no/such.toml")
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("SYNCLINE__STORE__SCHEMA: cannot read no/such.toml"),
        "{missing}"
    );

    let schema = tempfile::NamedTempFile::new().unwrap();
    fs::write(schema.path(), "[collections.albums]\nkind = 'bag'\n").unwrap();
    let flags = Flags {
        schema: Some(schema.path().to_owned()),
        ..Flags::default()
    };
    let error = load(&flags, &Environment::new()).unwrap_err().to_string();
    assert!(
        error.contains(&schema.path().display().to_string()),
        "{error}"
    );
}

#[test]
fn a_path_that_is_not_text_is_refused_instead_of_mangled() {
    use std::os::unix::ffi::OsStringExt;
    let data = std::ffi::OsString::from_vec(b"d\xff".to_vec());
    let flags = Flags {
        data: Some(data.into()),
        ..Flags::default()
    };
    let error = load(&flags, &Environment::new()).unwrap_err().to_string();
    assert!(error.starts_with("--data: "), "{error}");
}
