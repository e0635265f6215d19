//! The task that owns the core: carries out what it says, and tells it what happens.

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use syncline_client_core::{
    Core, Input, IntentId, NotUndone, OpenOptions, OpenValue, Outcome, Output, Pending, Status,
    Stored, WriteId,
};
use syncline_protocol::{DeviceId, Epoch, EventType, Intent, Operation, UnixMillis, Value};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep_until;

use crate::ambient::{WallClock, random, random_device};
use crate::aside::{Kept, SetAside, SetAsideId};
use crate::client::{
    Change, Delivered, End, Failure, OpenError, PublishError, UndoError, WipeError,
};
use crate::connection::{Connection, Who};
use crate::devices::{Device, Devices};
use crate::options::{Credentials, Options, Store};
use crate::receipt::{Around, Receipt, Told};
use crate::store::{Contents, FileStore, Job, Owner};
use crate::token::Tokens;
use crate::transport::Way;
use crate::writer::{Writer, Written};

/// Commands that wait for the task.
const COMMANDS_MAX: usize = 64;
/// What a slow listener may be behind before it is told that it missed something.
const TOLD_MAX: usize = 1_024;

/// What the app asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Publish {
        event_type: EventType,
        event_data: Value,
        reply: Published,
    },
    Act {
        operation: Operation,
        reply: Published,
    },
    Undo {
        which: Step,
        reply: oneshot::Sender<Result<Receipt, UndoError>>,
    },
    Pending {
        reply: oneshot::Sender<Vec<Pending>>,
    },
    Conflicts {
        collection: String,
        reply: oneshot::Sender<Vec<(String, Vec<OpenValue>)>>,
    },
    SetAside {
        reply: oneshot::Sender<Vec<SetAside>>,
    },
    Dismiss {
        id: SetAsideId,
        reply: oneshot::Sender<bool>,
    },
    Entries {
        collection: String,
        reply: oneshot::Sender<BTreeMap<String, Value>>,
    },
    Value {
        collection: String,
        key: String,
        reply: oneshot::Sender<Option<Value>>,
    },
    List {
        collection: String,
        list: Option<String>,
        reply: oneshot::Sender<Vec<(String, Value)>>,
    },
    OpenValues {
        collection: String,
        key: String,
        reply: oneshot::Sender<Vec<OpenValue>>,
    },
    Device {
        reply: oneshot::Sender<DeviceId>,
    },
    SetOnline {
        online: bool,
        reply: oneshot::Sender<()>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
    Wipe {
        reply: oneshot::Sender<Result<(), WipeError>>,
    },
}

/// What a publish waits for.
pub(crate) type Published = oneshot::Sender<Result<Receipt, PublishError>>;

/// Whoever waits until an intent is durable.
#[derive(Debug)]
enum Storing {
    Published(Published),
    Undone(oneshot::Sender<Result<Receipt, UndoError>>),
}

/// Back, or forth again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Undo,
    Redo,
}

/// To whoever listens.
#[derive(Debug, Clone)]
pub(crate) struct Tellers {
    pub(crate) events: broadcast::Sender<Delivered>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) set_aside: broadcast::Sender<SetAside>,
}

impl Tellers {
    pub(crate) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(TOLD_MAX),
            changes: broadcast::Sender::new(TOLD_MAX),
            set_aside: broadcast::Sender::new(TOLD_MAX),
        }
    }
}

struct Driver {
    core: Core,
    clock: WallClock,
    commands: mpsc::Receiver<Command>,
    writer: Writer,
    written: mpsc::UnboundedReceiver<Written>,
    connection: Option<Connection>,
    /// Connections that are saying goodbye.
    leaving: Vec<JoinHandle<()>>,
    /// The last write that was handed over, and the last that is durable.
    handed_over: WriteId,
    durable: WriteId,
    way: Arc<Way>,
    device_name: Option<String>,
    credentials: Option<Credentials>,
    tokens: Option<Tokens>,
    /// Publishes whose intent is not durable yet.
    storing: HashMap<IntentId, Storing>,
    /// Receipts that wait for the broker; those of superseded intents wait for what superseded them.
    receipts: HashMap<IntentId, Vec<watch::Sender<Option<Told>>>>,
    /// What superseded an intent that was not durable yet.
    superseded: HashMap<IntentId, IntentId>,
    status: watch::Sender<Status>,
    devices: Devices,
    told_devices: watch::Sender<Arc<[Device]>>,
    needs_auth: watch::Sender<bool>,
    epoch: watch::Sender<Epoch>,
    kept: Kept,
    /// What was set aside by this input, and goes with its write.
    aside: Job,
    file: Option<PathBuf>,
    tellers: Tellers,
    end: End,
}

/// The app's ends of a driver.
pub(crate) struct Started {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) devices: watch::Receiver<Arc<[Device]>>,
    pub(crate) needs_auth: watch::Receiver<bool>,
}

/// What wakes the task.
enum Wake {
    Command(Command),
    Input(Input),
    Fail(Failure),
    Stop,
}

/// Opens the store and starts the task.
pub(crate) async fn start(
    options: Options,
    tellers: Tellers,
    end: End,
) -> Result<Started, OpenError> {
    let device = random_device()?;
    let file = options.store.file(&options.stream, options.owner());
    let (store, contents) = open_store(&options, file.clone()).await?;
    let (writer, written) = Writer::start(store).map_err(OpenError::Thread)?;
    let mut clock = WallClock::new();
    let (core, outputs) = Core::open(clock.now(), core_options(&options, device, contents.stored));
    let (sender, commands) = mpsc::channel(COMMANDS_MAX);
    let (status, watcher) = watch::channel(core.status());
    let (told_devices, devices) = watch::channel(Arc::from([]));
    let (needs_auth, auth_watcher) = watch::channel(false);
    let epoch = watch::Sender::new(core.epoch());
    let driver = Driver {
        core,
        clock,
        commands,
        writer,
        written,
        connection: None,
        leaving: Vec::new(),
        handed_over: WriteId::NONE,
        durable: WriteId::NONE,
        way: Way::new(
            options.address,
            #[cfg(feature = "tls")]
            options.trust,
        ),
        device_name: options.device_name,
        credentials: options.credentials,
        tokens: options.tokens,
        storing: HashMap::new(),
        receipts: HashMap::new(),
        superseded: HashMap::new(),
        status,
        devices: Devices::new(options.stream),
        told_devices,
        needs_auth,
        epoch,
        kept: Kept::new(contents.aside),
        aside: Job::default(),
        file,
        tellers,
        end,
    };
    tokio::spawn(driver.run(outputs));
    Ok(Started {
        commands: sender,
        status: watcher,
        devices,
        needs_auth: auth_watcher,
    })
}

fn core_options(options: &Options, device: DeviceId, stored: Option<Stored>) -> OpenOptions {
    let mut core = OpenOptions::new(options.stream.clone(), device);
    core.stored = stored;
    core.schema = options.schema.clone();
    core.online = options.online;
    core.outbox_limit = options.outbox_limit.unwrap_or(core.outbox_limit);
    core
}

async fn open_store(
    options: &Options,
    file: Option<PathBuf>,
) -> Result<(Option<FileStore>, Contents), OpenError> {
    let Some(path) = file else {
        return Ok((None, Contents::default()));
    };
    let owner = Owner {
        stream: options.stream.clone(),
        user: options.owner().map(str::to_owned),
    };
    let is_folder = matches!(options.store, Store::Folder(_));
    let open = move || {
        if let Some(folder) = path.parent().filter(|_| is_folder) {
            FileStore::make_folder(folder)?;
        }
        FileStore::open(&path, &owner)
    };
    let opened = spawn_blocking(open).await;
    let (store, contents) = opened.map_err(|error| OpenError::Thread(error.into()))??;
    Ok((Some(store), contents))
}

impl Driver {
    async fn run(mut self, outputs: Vec<Output>) {
        let mut follow_up = self.carry_out(outputs);
        let closing = loop {
            let wake = match follow_up.take() {
                Some(wake) => wake,
                None => self.next().await,
            };
            follow_up = match wake {
                Wake::Input(input) => self.handle(input),
                Wake::Command(Command::Close { reply }) => break Some(Leave::Closed(reply)),
                Wake::Command(Command::Wipe { reply }) => break Some(Leave::Wiped(reply)),
                Wake::Command(command) => self.obey(command),
                Wake::Stop => break None,
                Wake::Fail(failure) => {
                    tracing::warn!("the client ends: {failure}");
                    self.end.because(failure);
                    break None;
                }
            };
        };
        let file = self.file.clone();
        self.shut_down().await;
        match closing {
            None => {}
            Some(Leave::Closed(reply)) => drop(reply.send(())),
            Some(Leave::Wiped(reply)) => drop(reply.send(wipe(file).await)),
        }
    }

    async fn next(&mut self) -> Wake {
        let at = self.core.next_timeout().map(|at| self.clock.instant_of(at));
        let timeout = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            written = self.written.recv() => match written {
                Some(Ok(write)) => Wake::Input(Input::Persisted(write)),
                Some(Err(error)) => Wake::Fail(Failure::Store(error)),
                None => Wake::Stop,
            },
            input = next_input(&mut self.connection) => Wake::Input(input),
            command = self.commands.recv() => command.map_or(Wake::Stop, Wake::Command),
            () = timeout => Wake::Input(Input::Timeout),
        }
    }

    fn handle(&mut self, input: Input) -> Option<Wake> {
        let input = match input {
            Input::Message { topic, payload } if self.devices.take(&topic, &payload) => {
                self.tell_devices();
                return None;
            }
            other => other,
        };
        if matches!(input, Input::Disconnected { .. }) {
            let ended = self.connection.take();
            let needs_auth = ended.is_some_and(|it| it.needs_auth());
            self.tell_needs_auth(needs_auth);
            self.forget_devices();
        }
        let connected = matches!(input, Input::Connected { .. });
        if connected {
            self.tell_needs_auth(false);
        }
        if let Input::Persisted(write) = input {
            // What is dismissed alone has no number.
            self.durable = self.durable.max(write);
        }
        // Without chance the longest delay is the kindest.
        let random = random().unwrap_or(0.999);
        let now = self.now();
        let outputs = self.core.handle(now, random, input);
        let epoch = self.core.epoch();
        let differs = |told: &mut Epoch| std::mem::replace(told, epoch) != epoch;
        self.epoch.send_if_modified(differs);
        let follow_up = self.carry_out(outputs);
        let subscribed = connected.then(|| self.subscribe(self.devices.filter()));
        follow_up.or(subscribed.flatten())
    }

    fn tell_devices(&mut self) {
        let list = self.devices.list(self.core.device());
        self.told_devices.send_replace(list.into());
    }

    fn tell_needs_auth(&self, needs: bool) {
        let differs = |told: &mut bool| std::mem::replace(told, needs) != needs;
        self.needs_auth.send_if_modified(differs);
    }

    fn forget_devices(&mut self) {
        self.devices.clear();
        self.tell_devices();
    }

    fn now(&mut self) -> UnixMillis {
        self.clock.now()
    }

    fn obey(&mut self, command: Command) -> Option<Wake> {
        // Whoever has stopped waiting for a reply does not need it.
        match command {
            Command::Publish {
                event_type,
                event_data,
                reply,
            } => {
                return self.publish(event_type, event_data, reply);
            }
            Command::Act { operation, reply } => return self.act(&operation, reply),
            Command::Undo { which, reply } => return self.undo(which, reply),
            Command::Pending { reply } => drop(reply.send(self.core.pending())),
            Command::Conflicts { collection, reply } => {
                let _ = reply.send(self.core.conflicts(&collection));
            }
            Command::SetAside { reply } => drop(reply.send(self.kept.all())),
            Command::Dismiss { id, reply } => {
                self.aside.dismissed.push(id);
                self.write(None);
                let _ = reply.send(self.kept.dismiss(id));
            }
            Command::Entries { collection, reply } => {
                let _ = reply.send(self.core.entries(&collection));
            }
            Command::Value {
                collection,
                key,
                reply,
            } => {
                let _ = reply.send(self.core.value(&collection, &key).cloned());
            }
            Command::List {
                collection,
                list,
                reply,
            } => {
                let _ = reply.send(self.core.list(&collection, list.as_deref()));
            }
            Command::OpenValues {
                collection,
                key,
                reply,
            } => {
                let _ = reply.send(self.core.open_values(&collection, &key));
            }
            Command::Device { reply } => drop(reply.send(self.core.device())),
            Command::SetOnline { online, reply } => {
                let follow_up = self.handle(Input::SetOnline(online));
                let _ = reply.send(());
                return follow_up;
            }
            Command::Close { reply } => drop(reply),
            Command::Wipe { reply } => drop(reply),
        }
        None
    }

    fn publish(
        &mut self,
        event_type: EventType,
        event_data: Value,
        reply: Published,
    ) -> Option<Wake> {
        let now = self.now();
        match self.core.publish(now, event_type, event_data) {
            Ok((id, outputs)) => {
                self.storing.insert(id, Storing::Published(reply));
                self.carry_out(outputs)
            }
            Err(rejected) => {
                let _ = reply.send(Err(rejected.into()));
                None
            }
        }
    }

    fn act(&mut self, operation: &Operation, reply: Published) -> Option<Wake> {
        let schema = self.core.schema().ok_or(PublishError::NoSchema);
        let composed = schema.and_then(|schema| Ok(schema.compose(operation)?));
        match composed {
            Ok((event_type, event_data)) => self.publish(event_type, event_data, reply),
            Err(error) => {
                let _ = reply.send(Err(error));
                None
            }
        }
    }

    fn undo(
        &mut self,
        which: Step,
        reply: oneshot::Sender<Result<Receipt, UndoError>>,
    ) -> Option<Wake> {
        let now = self.now();
        let undone: Result<_, NotUndone> = match which {
            Step::Undo => self.core.undo(now),
            Step::Redo => self.core.redo(now),
        };
        match undone {
            Ok((id, outputs)) => {
                self.storing.insert(id, Storing::Undone(reply));
                self.carry_out(outputs)
            }
            Err(error) => {
                let _ = reply.send(Err(error.into()));
                None
            }
        }
    }

    /// What goes to the disk in one piece: what the core writes, and what was set aside or dismissed meanwhile.
    fn write(&mut self, write: Option<syncline_client_core::Write>) {
        let job = Job {
            write,
            ..std::mem::take(&mut self.aside)
        };
        self.writer.write(job);
    }

    /// What must go back into the core at once, if anything.
    fn carry_out(&mut self, outputs: Vec<Output>) -> Option<Wake> {
        let mut follow_up = None;
        for output in &outputs {
            self.keep_if_set_aside(output);
        }
        for output in outputs {
            follow_up = self.carry_out_one(output).or(follow_up);
        }
        follow_up
    }

    fn carry_out_one(&mut self, output: Output) -> Option<Wake> {
        match output {
            Output::MintDevice => return Some(mint()),
            Output::Disconnect => self.disconnect(),
            Output::Connect(device) => self.connect(device),
            Output::Subscribe(filter) => {
                return self.subscribe(filter);
            }
            Output::Send { id, topic, payload } => {
                let connection = self.connection.as_mut();
                let taken = connection.is_none_or(|it| it.publish(id, topic, payload));
                return self.unless(taken);
            }
            Output::Write(write) => {
                self.handed_over = write.id;
                self.write(Some(*write));
            }
            Output::Stored(id) => self.stored(id),
            other => self.tell(other),
        }
        None
    }

    fn subscribe(&mut self, filter: String) -> Option<Wake> {
        tracing::debug!(%filter, "subscribe");
        let connection = self.connection.as_ref();
        let taken = connection.is_none_or(|it| it.subscribe(filter));
        self.unless(taken)
    }

    /// With the write that takes the intent out of the outbox, so that it is always in one of both places.
    fn keep_if_set_aside(&mut self, output: &Output) {
        let Output::SetAside {
            intent, refusal, ..
        } = output
        else {
            return;
        };
        tracing::warn!(name = refusal.name, reason = refusal.reason, "set aside");
        let (set_aside, goes) = self.kept.add(Intent::clone(intent), refusal.clone());
        self.aside.dismissed.extend(goes);
        self.aside.aside.push(set_aside.clone());
        // Telling fails only where nobody listens.
        let _ = self.tellers.set_aside.send(set_aside);
    }

    /// A connection that takes no more is at its end.
    fn unless(&mut self, taken: bool) -> Option<Wake> {
        if taken {
            return None;
        }
        self.disconnect();
        let reason = "the connection takes no more".to_owned();
        let taken_over = false;
        Some(Wake::Input(Input::Disconnected { reason, taken_over }))
    }

    fn connect(&mut self, device: DeviceId) {
        tracing::debug!(%device, "connect");
        let who = Who {
            device,
            name: self.device_name.as_deref(),
            credentials: self.credentials.as_ref(),
            tokens: self.tokens.as_ref(),
        };
        self.connection = Some(Connection::open(&self.way, &who));
    }

    fn disconnect(&mut self) {
        self.leaving.retain(|task| !task.is_finished());
        self.leaving
            .extend(self.connection.take().map(Connection::close));
        self.forget_devices();
    }

    fn stored(&mut self, id: IntentId) {
        if let Some(reply) = self.storing.remove(&id) {
            let (sender, outcome) = watch::channel(None);
            let mut last = id;
            while let Some(by) = self.superseded.get(&last) {
                last = *by;
            }
            self.superseded.remove(&id);
            self.receipts.entry(last).or_default().push(sender);
            let around = Around {
                devices: self.told_devices.subscribe(),
                epoch: self.epoch.subscribe(),
            };
            let receipt = Receipt::new(outcome, around, self.end.clone());
            match reply {
                Storing::Published(reply) => drop(reply.send(Ok(receipt))),
                Storing::Undone(reply) => drop(reply.send(Ok(receipt))),
            }
        }
    }

    /// What is superseded has the receipt of what superseded it, because both come to the same.
    fn receipt(&mut self, id: IntentId, outcome: &Outcome) {
        let waiting = self.receipts.remove(&id).unwrap_or_default();
        if let Outcome::Superseded(by) = *outcome {
            self.receipts.entry(by).or_default().extend(waiting);
            if self.storing.contains_key(&id) {
                self.superseded.insert(id, by);
            }
            return;
        }
        for receipt in waiting {
            // Whoever dropped it does not want to know.
            let _ = receipt.send(Some((outcome.clone(), self.core.epoch())));
        }
    }

    /// Telling fails only where nobody listens.
    fn tell(&mut self, output: Output) {
        match output {
            Output::Receipt { id, outcome } => self.receipt(id, &outcome),
            Output::Event { event, own } => {
                tracing::trace!(seq = %event.seq, own, "event");
                let _ = self.tellers.events.send(Delivered {
                    event: Arc::from(event),
                    own,
                });
            }
            Output::Changed { collection, keys } => {
                let _ = self.tellers.changes.send(Change { collection, keys });
            }
            Output::Status(status) => {
                tracing::debug!(?status, "status");
                self.status.send_replace(status);
            }
            Output::SchemaChanged(hash) => tracing::debug!(%hash, "another schema"),
            Output::Fault { kind, detail } => tracing::warn!(%kind, detail, "a rule was broken"),
            _ => {}
        }
    }

    async fn shut_down(mut self) {
        self.handle(Input::SetOnline(false));
        while self.durable < self.handed_over {
            let Some(Ok(write)) = self.written.recv().await else {
                break;
            };
            self.handle(Input::Persisted(write));
        }
        self.disconnect();
        for task in self.leaving {
            // It ends within its own time limit; how does not matter.
            let _ = task.await;
        }
        let finished = spawn_blocking(move || self.writer.finish()).await;
        if finished.is_err() {
            tracing::warn!("the outbox was not closed in order");
        }
    }
}

/// Whoever asked for the end.
enum Leave {
    Closed(oneshot::Sender<()>),
    Wiped(oneshot::Sender<Result<(), WipeError>>),
}

/// Of a store that is free.
async fn wipe(file: Option<PathBuf>) -> Result<(), WipeError> {
    let Some(path) = file else {
        return Ok(());
    };
    let removed = spawn_blocking({
        let path = path.clone();
        move || FileStore::remove(&path)
    });
    let removed = removed.await.unwrap_or_else(|error| Err(error.into()));
    removed.map_err(|error| WipeError::File { path, error })
}

async fn next_input(connection: &mut Option<Connection>) -> Input {
    match connection {
        Some(connection) => connection.input().await,
        None => pending().await,
    }
}

fn mint() -> Wake {
    match random_device() {
        Ok(device) => Wake::Input(Input::NewDevice(device)),
        Err(error) => Wake::Fail(Failure::Randomness(error)),
    }
}
