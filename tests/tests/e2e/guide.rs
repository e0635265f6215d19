//! What `docs/guide` shows of files and commands is what the broker takes. (Its Rust is in documentation tests, its TypeScript is
//! checked beside the web client.)

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use syncline_protocol::Schema;
use syncline_tests::authority::{Authority, Files, Validity};
use syncline_tests::broker::binary;
use syncline_tests::guide::{PAGES, blocks};

fn syncline(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A folder with what the pages speak of: certificate, users, keys of a login.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    let authority = Authority::new("guide");
    authority.server(&Files::new(folder.path(), "server"), Validity::Now);
    for page in PAGES {
        for block in blocks(page.1, "toml") {
            if let Some(name) = block.lines().next().and_then(|it| it.strip_prefix("# ")) {
                fs::write(folder.path().join(name), &block).unwrap();
            }
        }
    }
    folder
}

#[test]
fn the_configuration_of_the_guide_is_one_that_the_broker_takes() {
    let folder = folder();
    let production = PAGES.iter().find(|it| it.0 == "7-production.md").unwrap();
    let config = &blocks(production.1, "toml")[0];
    fs::write(folder.path().join("broker.toml"), config).unwrap();
    fs::write(folder.path().join("users"), "").unwrap();
    let (taken, said) = syncline(folder.path(), &["check", "--config", "broker.toml"]);
    assert!(taken, "{said}");
    assert!(said.contains("0.0.0.0:8443"), "{said}");
    fs::write(folder.path().join("acl.toml"), "[everyone]\ngroup = 1\n").unwrap();
    let (taken, said) = syncline(folder.path(), &["check", "--config", "broker.toml"]);
    assert!(
        !taken && said.contains("acl.toml"),
        "the rules are looked at, too: {said}"
    );
}

#[test]
fn every_block_of_toml_is_a_configuration_rules_or_a_schema_and_says_which() {
    for (page, text) in PAGES {
        for block in blocks(text, "toml") {
            let name = block.lines().next().unwrap();
            match name {
                "# broker.toml" | "# acl.toml" => {}
                "# schema.toml" => drop(Schema::parse(&block).unwrap()),
                other => panic!("{page}: a block that begins with {other:?}"),
            }
        }
    }
}

#[test]
fn every_command_of_the_guide_is_one_that_the_broker_has_with_these_flags() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut seen = BTreeSet::new();
    for (page, text) in PAGES {
        for line in blocks(text, "sh").iter().flat_map(|it| it.lines()) {
            let Some(arguments) = line.strip_prefix("syncline ") else {
                continue;
            };
            let mut words = arguments.split_whitespace();
            let command = words.next().unwrap();
            let (known, help) = syncline(folder.path(), &[command, "--help"]);
            assert!(known, "{page}: {line}: {help}");
            for flag in words.filter(|it| it.starts_with("--")) {
                assert!(help.contains(flag), "{page}: {line}: {help}");
            }
            seen.insert(command.to_owned());
        }
    }
    for wanted in ["check", "serve", "backup", "restore", "verify"] {
        assert!(seen.contains(wanted), "the guide speaks of {wanted}");
    }
}
