//! `syncline passwd`: a line of the password file. A broker that reads meanwhile sees the file before or the file after.

use std::error::Error;
use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::auth::{Hash, SALT_BYTES, Secret, edited};
use crate::cli::PasswdArgs;

/// For its owner alone.
const MODE: u32 = 0o600;

/// Sets or removes a password, and says so.
pub(super) fn change(args: &PasswdArgs, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let named = |error: &dyn Error| format!("{}: {error}", args.file.display());
    // Asked for first: nobody else has to wait for somebody who types.
    let hash = match args.delete {
        true => None,
        false => Some(Hash::of(&password(args)?, salt()?)?),
    };
    let path = target(&args.file).map_err(|error| named(&error))?;
    let _alone = alone(&path).map_err(|error| named(&error))?;
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !args.delete => String::new(),
        read => read.map_err(|error| named(&error))?,
    };
    let after = edited(&before, &args.user, hash.as_ref()).map_err(|error| named(&error))?;
    let Some(after) = after else {
        return Err(format!("{} has no user {}", args.file.display(), args.user).into());
    };
    replace(&path, &after).map_err(|error| named(&error))?;
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

/// Where a path leads: a symbolic link stays one, and what it names is changed.
fn target(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Ok(_) => Err(io::Error::other("it is a symbolic link to nothing")),
            Err(_) => Ok(path.to_owned()),
        },
        found => found,
    }
}

/// One at a time changes the files of a folder, until this is dropped, or the second would undo what the first did.
fn alone(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
    folder.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::other("another `syncline passwd` is at work in this folder; try again")
        }
        TryLockError::Error(error) => error,
    })?;
    Ok(folder)
}

/// As a whole, with the access and the owner that it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let before = fs::metadata(path).ok();
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let written = write(Path::new(&beside), text, before.as_ref());
    let written = written.and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write(path: &Path, text: &str, like: Option<&Metadata>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(MODE).open(path)?;
    if let Some(like) = like {
        keep_owner(&file, like)?;
        let mode = like.permissions().mode() & 0o777;
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Root changes the file of the broker's user; it stays that user's.
fn keep_owner(file: &File, like: &Metadata) -> io::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) == (like.uid(), like.gid()) {
        return Ok(());
    }
    fchown(file, Some(like.uid()), Some(like.gid())).map_err(|error| {
        let owner = format!("{}:{}", like.uid(), like.gid());
        io::Error::other(format!(
            "it cannot stay owned by {owner}: {error}; run this as its owner or as root"
        ))
    })
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
        // Only root can show this: the file stays the broker's.
        if fchown(File::open(&path).unwrap(), Some(4_321), Some(1_234)).is_ok() {
            replace(&path, "# three\n").unwrap();
            let kept = fs::metadata(&path).unwrap();
            assert_eq!((kept.uid(), kept.gid(), mode()), (4_321, 1_234, 0o640));
        }
    }

    fn args(file: &Path, user: &str) -> PasswdArgs {
        PasswdArgs {
            file: file.to_owned(),
            user: user.to_owned(),
            stdin: false,
            delete: true,
        }
    }

    fn write_ana(file: &Path) {
        let hash = Hash::of(&Secret::new("pw"), [1; SALT_BYTES]).unwrap();
        let text = edited("", "ana", Some(&hash)).unwrap().unwrap();
        replace(file, &text).unwrap();
    }

    #[test]
    fn a_symbolic_link_stays_one_and_its_target_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let [real, link] = ["real", "link"].map(|name| folder.path().join(name));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let dangling = change(&args(&link, "ana"), &mut Vec::new()).unwrap_err();
        assert!(
            dangling.to_string().contains("symbolic link to nothing"),
            "{dangling}"
        );
        write_ana(&real);
        change(&args(&link, "ana"), &mut Vec::new()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "");
    }

    #[test]
    fn two_at_once_do_not_undo_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords");
        write_ana(&file);
        let first = alone(&file).unwrap();
        let second = change(&args(&file, "ana"), &mut Vec::new()).unwrap_err();
        assert!(second.to_string().contains("try again"), "{second}");
        drop(first);
        assert!(change(&args(&file, "ana"), &mut Vec::new()).is_ok());
    }

    #[test]
    fn a_user_who_is_not_there_cannot_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passwords");
        write_ana(&file);
        let remove = |user: &str| {
            change(&args(&file, user), &mut Vec::new()).map_err(|error| error.to_string())
        };
        assert!(remove("bob").unwrap_err().contains("no user bob"));
        assert_eq!(remove("ana"), Ok(()));
        let left = Passwords::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(left.of("ana").is_none());
    }
}
