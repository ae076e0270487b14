//! A connection's stream with its two buffers, and the patience for each direction.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::unconstrained,
};

use super::{input::Input, timer::Timer};

/// What a connection needs of its stream, in a form that can stand behind a pointer: so
/// `Request` and `Response` need no type parameter.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream, what has arrived on it and what is to leave by it.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// What has arrived.
    pub(super) input: Input,
    /// What is to leave. Filled by encoders, emptied by [`Wire::poll_send`].
    pub(super) output: Vec<u8>,
    /// How much of `output` has left.
    sent: usize,
    /// Bounds waits for the client's next byte.
    pub(super) read_timer: Timer,
    /// Bounds waits for the client to take our bytes. Its own timer, since a handler may
    /// read in one task and write in another, and a timer wakes only one.
    write_timer: Timer,
    write_timeout: Duration,
    /// Bytes moved since this connection last gave way.
    moved: usize,
}

impl Wire {
    /// A wire on which nothing has happened yet.
    pub(super) fn new(stream: Box<dyn Stream>, write_timeout: Duration) -> Self {
        Self {
            stream,
            input: Input::default(),
            output: Vec::new(),
            sent: 0,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
            write_timeout,
            moved: 0,
        }
    }

    /// Bytes that are to leave and have not.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Reads once into the input buffer, which may grow to `most` bytes; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_share(cx));
        let room = self.input.room(most);
        if room.is_empty() {
            // Reading into no room looks like the end of the stream, so say what it is.
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut buffer = ReadBuf::new(room);
        let stream = &mut self.stream;
        ready!(unmetered(cx, |cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)))?;
        let count = buffer.filled().len();
        self.input.filled(count);
        self.moved += count;
        Poll::Ready(Ok(count))
    }

    /// Sends all output and then `data`, which is not copied; `done` counts its bytes.
    /// Fails if the client takes nothing for the write timeout.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        done: &mut usize,
    ) -> Poll<io::Result<()>> {
        while self.unsent() > 0 || *done < data.len() {
            ready!(self.poll_share(cx));
            let parts = [
                IoSlice::new(&self.output[self.sent..]),
                IoSlice::new(&data[*done..]),
            ];
            let Poll::Ready(written) = poll_write(&mut self.stream, cx, &parts) else {
                ready!(self.write_timer.poll_after(cx, self.write_timeout));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write_timer.clear();
            self.moved += written;
            let from_output = written.min(self.unsent());
            self.sent += from_output;
            *done += written - from_output;
        }
        self.output.clear();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Lets other connections go first when this one has moved its share of bytes.
    ///
    /// Where the client is as fast as we are, a stream is always ready, and a handler that
    /// copies a long body would otherwise never wait for anything.
    fn poll_share(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved < SHARE {
            return Poll::Ready(());
        }
        self.moved = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Closes our direction, so that the client sees the end of the stream.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives back the memory that a large request or answer made us allocate.
    pub(super) fn shrink(&mut self) {
        self.input.shrink();
        if self.output.is_empty() && self.output.capacity() > OUTPUT_KEPT {
            self.output = Vec::new();
        }
    }
}

/// How many bytes a connection moves before it gives way.
///
/// Copying them takes some 50 µs: less than a handler that is worth waiting for, and far
/// more than giving way costs.
const SHARE: usize = 256 * 1024;

/// Output memory that an idle connection may keep.
const OUTPUT_KEPT: usize = 4 * 1024;

/// One write: of the first part alone where that is all, else of both at once.
fn poll_write(
    stream: &mut Box<dyn Stream>,
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>; 2],
) -> Poll<io::Result<usize>> {
    unmetered(cx, |cx| {
        let stream = Pin::new(&mut *stream);
        match (parts[0].len(), parts[1].len()) {
            (_, 0) => stream.poll_write(cx, &parts[0]),
            (0, _) => stream.poll_write(cx, &parts[1]),
            _ => stream.poll_write_vectored(cx, parts),
        }
    })
}

/// Polls without drawing on the task's cooperative budget.
///
/// tokio gives a task 128 operations a poll and then makes every further one wait. That is
/// meant for one connection a task. Here a thousand share a task: once the budget is gone
/// the rest would all be polled in vain. A connection gives way after an answer or a share
/// of bytes instead, and a turn of the server ends by the clock.
fn unmetered<T>(cx: &mut Context<'_>, poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    pin!(unconstrained(poll_fn(poll))).poll(cx)
}
