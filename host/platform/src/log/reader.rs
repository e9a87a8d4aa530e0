//! Reads: from memory when the records are recent, else from the disk.

use super::disk::DiskError;
use super::page::PageBuilder;
use super::scan::Frames;
use super::segment::Segment;
use super::shared::Shared;
use super::{Limits, Page, Position, ReadError, Why, locked};

/// A page from memory; `None` when the disk must be asked.
pub(crate) fn read_recent(shared: &Shared, from: Position, limits: Limits) -> Result<Option<Page>, ReadError> {
    let tail = locked(&shared.tail);
    let end = shared.end();
    if from > end {
        return Err(ReadError::Ahead { from, end });
    }
    let mut page = PageBuilder::new(from.0, limits);
    tail.fill(&mut page);
    let page = page.finish();
    Ok((from == end || !page.is_empty()).then_some(page))
}

/// A page. Blocks while the disk is read; a page from disk ends where a segment ends.
pub(crate) fn read(shared: &Shared, from: Position, limits: Limits) -> Result<Page, ReadError> {
    loop {
        if let Some(page) = read_recent(shared, from, limits)? {
            return Ok(page);
        }
        let end = shared.end();
        let Some((segment, next)) = locked(&shared.segments).holding(from.0) else {
            return Err(ReadError::Expired { from, oldest: shared.oldest() });
        };
        let mut page = PageBuilder::new(from.0, limits);
        match read_segment(shared, &segment, next.unwrap_or(end.0), &mut page) {
            // Removed since it was looked up: look again.
            Err(error) if error.is_not_found() && shared.oldest() > from => {}
            outcome => return outcome.map(|()| page.finish()).map_err(ReadError::Disk),
        }
    }
}

/// Fills the page from one segment, up to the ordinal `until`, with which the next one begins.
fn read_segment(shared: &Shared, segment: &Segment, until: u64, page: &mut PageBuilder) -> Result<(), DiskError> {
    let name = segment.name.to_string();
    let failed = |error| DiskError::new(&*shared.disk, "reading", &name, error);
    let file = shared.disk.open(&name).map_err(failed)?;
    let mut frames = Frames::new(file, segment.name.epoch, segment.written()).map_err(failed)?;
    let mut offset = segment.nearest(page.next());
    while page.next() < until && !page.is_full() {
        let Some(header) = frames.header(offset).map_err(failed)? else {
            offset = report_damage(shared, segment, &mut frames, offset, page, until).map_err(failed)?;
            continue;
        };
        if header.end() <= page.next() {
            segment.note(header.first, offset);
            offset += header.frame_bytes();
            continue;
        }
        let Some(payload) = frames.payload(offset, &header).map_err(failed)? else {
            offset = report_damage(shared, segment, &mut frames, offset, page, until).map_err(failed)?;
            continue;
        };
        if header.first > page.next() {
            // What was reported as damage ends here.
            page.gap(header.first, Why::Damaged);
        }
        segment.note(header.first, offset);
        page.records(header.first, header.count.into(), &payload);
        offset += header.frame_bytes();
    }
    Ok(())
}

/// There is no undamaged frame at `offset`, though there must be records up to `until`. Returns where the next frame
/// is; if there is none, everything up to `until` is missing.
fn report_damage(
    shared: &Shared,
    segment: &Segment,
    frames: &mut Frames,
    offset: u64,
    page: &mut PageBuilder,
    until: u64,
) -> std::io::Result<u64> {
    if segment.note_damage(offset) {
        shared.meters.damage.increment(1);
        let file = shared.disk.describe(&segment.name.to_string());
        tracing::error!(file, offset, from = page.next(), "event log: committed records are damaged");
    }
    let resumed = frames.resume(offset)?;
    if resumed.is_none() {
        page.gap(until, Why::Damaged);
    }
    Ok(resumed.unwrap_or(offset))
}
