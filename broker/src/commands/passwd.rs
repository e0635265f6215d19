//! `syncline passwd`: a line of the password file. A broker that reads meanwhile sees the file before or the file after.

use std::error::Error;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::auth::{Hash, SALT_BYTES, Secret, edited};
use crate::cli::PasswdArgs;

/// For its owner alone.
const MODE: u32 = 0o600;

/// Sets or removes a password, and says so.
pub(super) fn change(args: &PasswdArgs, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let named = |error: &dyn Error| format!("{}: {error}", args.file.display());
    let before = match fs::read_to_string(&args.file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !args.delete => String::new(),
        read => read.map_err(|error| named(&error))?,
    };
    let hash = match args.delete {
        true => None,
        false => Some(Hash::of(&password(args)?, salt()?)?),
    };
    let after = edited(&before, &args.user, hash.as_ref()).map_err(|error| named(&error))?;
    let Some(after) = after else {
        return Err(format!("{} has no user {}", args.file.display(), args.user).into());
    };
    replace(&args.file, &after).map_err(|error| named(&error))?;
    let done = if args.delete {
        "is gone"
    } else {
        "has a new password"
    };
    writeln!(
        out,
        "{} {done}; a running broker hears of it by `syncline reload`",
        args.user
    )?;
    Ok(())
}

fn password(args: &PasswdArgs) -> Result<Secret, Box<dyn Error>> {
    if args.stdin {
        return Ok(line()?);
    }
    if !io::stdin().is_terminal() {
        return Err("there is no terminal to ask on; pass the password with --stdin".into());
    }
    let silence = Silence::begin()?;
    let first = ask(&format!("password of {}: ", args.user))?;
    let second = ask("once more: ")?;
    drop(silence);
    match first == second {
        true => Ok(first),
        false => Err("the two differ; nothing was changed".into()),
    }
}

fn ask(question: &str) -> io::Result<Secret> {
    let mut terminal = io::stderr().lock();
    terminal.write_all(question.as_bytes())?;
    let answer = line()?;
    terminal.write_all(b"\n")?;
    Ok(answer)
}

fn line() -> io::Result<Secret> {
    let mut line = Vec::new();
    io::stdin().lock().read_until(b'\n', &mut line)?;
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    Ok(Secret::new(text.strip_suffix(b"\r").unwrap_or(text)))
}

fn salt() -> Result<[u8; SALT_BYTES], getrandom::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(salt)
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if tcsetattr(io::stdin(), OptionalActions::Flush, &self.0).is_err() {
            tracing::warn!("the terminal stays silent; `stty echo` wakes it");
        }
    }
}

/// As a whole, with the access that it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(MODE, |it| it.permissions().mode() & 0o777);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = write(Path::new(&beside), text, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Passwords;

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_keeps_its_access() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        replace(&path, "# one\n").unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        replace(&path, "# two\n").unwrap();
        assert_eq!(
            (mode(), &*fs::read_to_string(&path).unwrap()),
            (0o640, "# two\n")
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_user_who_is_not_there_cannot_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords");
        let hash = Hash::of(&Secret::new("pw"), [1; SALT_BYTES]).unwrap();
        let text = edited("", "ana", Some(&hash)).unwrap().unwrap();
        replace(&file, &text).unwrap();
        let remove = |user: &str| {
            let args = PasswdArgs {
                file: file.clone(),
                user: user.to_owned(),
                stdin: false,
                delete: true,
            };
            change(&args, &mut Vec::new()).map_err(|error| error.to_string())
        };
        assert!(remove("bob").unwrap_err().contains("no user bob"));
        assert_eq!(remove("ana"), Ok(()));
        let left = Passwords::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(left.of("ana").is_none());
    }
}
