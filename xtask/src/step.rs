//! One command of a chore: announced, run with its output going straight through, timed.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::Failure;

pub(crate) struct Step {
    title: &'static str,
    command: Command,
    repeat: String,
}

impl Step {
    /// `repeat` is the line with which a person runs this step alone.
    pub(crate) fn new(title: &'static str, command: Command, repeat: impl Into<String>) -> Self {
        Self {
            title,
            command,
            repeat: repeat.into(),
        }
    }

    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let status = self
            .command
            .status()
            .map_err(|error| self.failure(&error.to_string()))?;
        if status.success() {
            Ok(())
        } else {
            Err(self.failure(&status.to_string()))
        }
    }

    fn failure(&self, why: &str) -> Failure {
        Failure::with_remedy(format!("{}: {why}", self.title), &self.repeat)
    }
}

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run_all(steps: Vec<Step>) -> Result<(), Failure> {
    let begin = Instant::now();
    let count = steps.len();
    for (index, step) in steps.into_iter().enumerate() {
        let place = format!("[{}/{count}]", index + 1);
        let title = step.title;
        println!(
            "\n==> {place} {title}  (at {})\n    {}",
            clock(begin.elapsed()),
            step.repeat
        );
        let started = Instant::now();
        step.run()?;
        println!("<== {place} {title}: ok in {}", clock(started.elapsed()));
    }
    println!("\nAll {count} steps passed in {}.", clock(begin.elapsed()));
    Ok(())
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Step::new("sample", command, "sh sample")
    }

    #[test]
    fn a_failing_step_names_the_command_that_repeats_it() {
        let failure = run_all(vec![shell("true"), shell("exit 3"), shell("true")]).unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("sample") && text.contains("try: sh sample"),
            "{text}"
        );
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(clock(Duration::from_secs(123)), "2 min 03 s");
    }
}
