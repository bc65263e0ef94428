//! The terminal while `top` has it: its other screen, no cursor, keys as they are typed.
//!
//! Whoever leaves, by key, signal, error or panic, leaves the terminal as it was: `Drop` gives it back.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

/// Between two looks whether the thread that reads keys is to end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Keys that wait at once; who holds one down loses the rest.
const EVENTS_MAX: usize = 16;
/// What a terminal that does not know its size is taken to have.
const SIZE_DEFAULT: (u16, u16) = (80, 24);

/// Something that happened to the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// q, Escape or Ctrl-C.
    Quit,
    /// It has another size.
    Redraw,
}

/// The terminal that standard output is.
pub(super) struct Terminal {
    out: io::Stdout,
    events: mpsc::Receiver<Event>,
    leaving: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Takes it.
    pub(super) fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let (tell, events) = mpsc::channel(EVENTS_MAX);
        let leaving = Arc::new(AtomicBool::new(false));
        let mut terminal = Self { out: io::stdout(), events, leaving: leaving.clone(), reader: None };
        execute!(terminal.out, EnterAlternateScreen, Hide)?;
        terminal.reader = Some(std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            // Without keys to read, a signal ends the program.
            if let Err(error) = read(&tell, &leaving) {
                tracing::debug!(%error, "no keys can be read");
            }
        })?);
        Ok(terminal)
    }

    /// The next thing that happens; never returns when no keys can be read.
    pub(super) async fn event(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Columns to write in, and lines.
    pub(super) fn size() -> (usize, usize) {
        let (columns, rows) = match size() {
            Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
            Ok(_) | Err(_) => SIZE_DEFAULT,
        };
        // The last column stays empty: behind a character in it the cursor is still in its place, and clearing what
        // follows would take the character.
        (usize::from(columns).saturating_sub(1), usize::from(rows))
    }

    /// Shows these lines in place of what is there, as many as there is room for.
    pub(super) fn draw(&mut self, lines: &[String], rows: usize) -> io::Result<()> {
        let mut out = self.out.lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0_u16..).zip(lines.iter().take(rows)) {
            queue!(out, MoveTo(0, row))?;
            out.write_all(line.as_bytes())?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
            if usize::from(row) + 1 < rows {
                queue!(out, MoveTo(0, row + 1))?;
            }
        }
        queue!(out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        if self.reader.take().is_some_and(|reader| reader.join().is_err()) {
            tracing::debug!("the thread that reads keys panicked");
        }
        let left = execute!(self.out, Show, LeaveAlternateScreen).and(disable_raw_mode());
        if let Err(error) = left {
            tracing::error!(%error, "the terminal was not left as it was; `reset` mends it");
        }
    }
}

/// Reads keys until somebody leaves.
fn read(tell: &mpsc::Sender<Event>, leaving: &AtomicBool) -> io::Result<()> {
    while !leaving.load(Ordering::Relaxed) {
        if !event::poll(LOOK_EVERY)? {
            continue;
        }
        // A full queue holds something that ends or redraws already.
        if let Some(event) = meaning(&event::read()?) {
            tell.try_send(event).unwrap_or_default();
        }
    }
    Ok(())
}

fn meaning(event: &event::Event) -> Option<Event> {
    match event {
        event::Event::Resize(..) => Some(Event::Redraw),
        event::Event::Key(key) if key.kind == KeyEventKind::Press => {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('c') if control => Some(Event::Quit),
                KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Event::Quit),
                _ => None,
            }
        }
        _ => None,
    }
}
