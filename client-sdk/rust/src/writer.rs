//! The thread that waits for the disk, so that nothing else does.

use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread;

use syncline_client_core::WriteId;
use tokio::sync::mpsc;

use crate::store::{FileStore, Job, StoreError};

/// How many writes share one commit at most.
const BATCH_MAX: usize = 256;

/// What became of the writes up to one.
pub(crate) type Written = Result<WriteId, Arc<StoreError>>;

/// Hands writes to the disk, and says on a channel when they are durable.
#[derive(Debug)]
pub(crate) struct Writer {
    target: Target,
    done: mpsc::UnboundedSender<Written>,
}

#[derive(Debug)]
enum Target {
    Memory,
    File {
        jobs: Option<blocking::Sender<Job>>,
        thread: Option<thread::JoinHandle<()>>,
    },
}

impl Writer {
    /// `store` `None`: nothing is kept, and everything is done at once. What waits in the channels is bounded by
    /// the outbox.
    pub(crate) fn start(
        store: Option<FileStore>,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<Written>)> {
        let (done, written) = mpsc::unbounded_channel();
        let target = match store {
            None => Target::Memory,
            Some(store) => start_thread(store, done.clone())?,
        };
        Ok((Self { target, done }, written))
    }

    pub(crate) fn write(&self, job: Job) {
        match &self.target {
            Target::Memory => {
                let id = job.write.map(|write| write.id);
                drop(id.map(|id| self.done.send(Ok(id))));
            }
            // If the thread is gone, it has said why.
            Target::File {
                jobs: Some(jobs), ..
            } => drop(jobs.send(job)),
            Target::File { jobs: None, .. } => {}
        }
    }

    /// Waits until everything that was handed over is durable, and frees the file.
    pub(crate) fn finish(mut self) {
        if let Target::File { jobs, thread } = &mut self.target {
            drop(jobs.take());
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::warn!("the thread of the outbox panicked");
            }
        }
    }
}

fn start_thread(store: FileStore, done: mpsc::UnboundedSender<Written>) -> std::io::Result<Target> {
    let (jobs, waiting) = blocking::channel();
    let name = "syncline-outbox".to_owned();
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || run(&store, &waiting, &done))?;
    Ok(Target::File {
        jobs: Some(jobs),
        thread: Some(thread),
    })
}

/// Commits what has gathered while the last commit was under way (group commit).
fn run(
    store: &FileStore,
    waiting: &blocking::Receiver<Job>,
    done: &mpsc::UnboundedSender<Written>,
) {
    while let Ok(first) = waiting.recv() {
        let mut batch = vec![first];
        batch.extend(waiting.try_iter().take(BATCH_MAX - 1));
        let last = batch
            .iter()
            .rev()
            .find_map(|job| Some(job.write.as_ref()?.id));
        let last = last.unwrap_or(WriteId::NONE);
        let written = store.write(&batch).map(|()| last).map_err(Arc::new);
        let failed = written.is_err();
        if done.send(written).is_err() || failed {
            return;
        }
    }
}
