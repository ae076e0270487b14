//! How workers are told things: when they can be, in their language, and within bounds.

use std::time::Instant;

use maitred_core::id::WorkerId;
use maitred_protocol::MasterToWorker;

use super::dialect::{Frame, UserText, Wording};
use super::master::Master;
use super::member::Early;
use super::outbox::Cargo;
use super::worker_link::WorkerLink;
use crate::worker::SendError;

/// Messages kept for a worker that has not said hello yet.
///
/// A program takes some milliseconds to do so; who sends more than this meanwhile is told
/// that the queue is full.
const EARLY_MAX: usize = 256;

/// User messages stop here, well before the outbox is full, so that a flood of them leaves
/// room for handoffs and answers.
const USER_BACKLOG_MAX: usize = 256;

/// Bytes that may wait for a worker that does not read, if they are of more than one message:
/// what 256 of the longest messages to a Rust worker come to. One that is alone may be as long
/// as messages may be, so no worker costs more than the larger of the two.
const USER_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Master {
    /// Tells a worker something, once it can be told.
    pub(super) fn tell(&mut self, now: Instant, worker: WorkerId, message: MasterToWorker) {
        self.tell_with(now, worker, message, Cargo::Nothing);
    }

    pub(super) fn tell_with(
        &mut self,
        now: Instant,
        worker: WorkerId,
        message: MasterToWorker,
        cargo: Cargo,
    ) {
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        if member.link.as_ref().is_some_and(WorkerLink::is_silent) {
            return;
        }
        let Some(link) = member.link.as_mut().filter(|_| member.greeted) else {
            // Besides user messages, which are counted, only the wish that it leave.
            member.early.push(Early::Ours(message, cargo));
            return;
        };
        match link.encode(&message) {
            Ok(wording) => self.post_wording(now, worker, wording, cargo),
            // The owner's fault, and not the worker's.
            Err(_) if matches!(message, MasterToWorker::User(_)) => {}
            // Only what a worker gave us to pass on (its opaque data) can be that long.
            Err(error) => self.expel(now, worker, &error),
        }
    }

    pub(super) fn post_wording(
        &mut self,
        now: Instant,
        worker: WorkerId,
        wording: Wording,
        cargo: Cargo,
    ) {
        match wording {
            Wording::Frame(frame) => self.post(now, worker, frame, cargo),
            Wording::Answered(answer) => self.hear(now, worker, answer),
            Wording::Nothing => {}
        }
    }

    pub(super) fn post_user(&mut self, now: Instant, worker: WorkerId, text: UserText) {
        if let Some(link) = self.link_of(worker) {
            let wording = link.encode_user(text);
            self.post_wording(now, worker, wording, Cargo::Nothing);
        }
    }

    pub(super) fn post(&mut self, now: Instant, worker: WorkerId, frame: Frame, cargo: Cargo) {
        if let Some(member) = self.members.get_mut(&worker)
            && let Some(link) = &mut member.link
        {
            let delivery = link.send((frame, cargo), &self.connections);
            self.settle(now, worker, delivery);
        }
    }

    /// Tells a worker what the owner wants it to be told; the owner hears if that fails.
    pub(super) fn tell_user(
        &mut self,
        now: Instant,
        worker: WorkerId,
        text: UserText,
    ) -> Result<(), SendError> {
        let gone = SendError::NotConnected(worker);
        let member = self.members.get_mut(&worker).ok_or(gone.clone())?;
        let has_greeted = member.greeted;
        let (waiting, bytes, max) = match &member.link {
            Some(_) if !member.status.borrow().connected => return Err(gone),
            Some(link) if has_greeted => (link.backlog(), link.backlog_bytes(), USER_BACKLOG_MAX),
            Some(_) | None => (member.early.len(), member.early_bytes(), EARLY_MAX),
        };
        if waiting >= max || (bytes > 0 && bytes + text.len() > USER_BYTES_MAX) {
            return Err(SendError::QueueFull(worker));
        }
        if has_greeted {
            self.post_user(now, worker, text);
        } else {
            member.early.push(Early::User(text));
        }
        Ok(())
    }
}
