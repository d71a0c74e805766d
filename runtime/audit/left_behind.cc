#include "audit/left_behind.h"

#include <cstring>
#include <optional>

#include "audit/bpf_slot.h"
#include "audit/raw_event.h"

namespace carrel {
namespace {

// What the log itself says.
struct Learned {
  bool began = false;     ///< something of the action may have run
  bool recorded = false;  ///< to its end
  bool gave_up = false;   ///< events were dropped: they could not be written
  uint64_t lost = 0;      ///< of what was recorded
};

std::string StringOf(const Json& record, const char* key) {
  auto at = record.find(key);
  return at != record.end() && at->is_string() ? at->get<std::string>() : std::string();
}

Result<Learned> Learn(const std::string& path, LogWriter& log) {
  CARREL_ASSIGN(LogReader reader, LogReader::Open(path));
  Learned learned;
  AuditEvent event;
  for (;;) {
    CARREL_ASSIGN(const bool more, reader.NextBlock());
    if (!more) return learned;
    for (;;) {
      CARREL_ASSIGN(const bool row, reader.NextEvent(event));
      if (!row) break;
      if (event.task.tid != 0) learned.began = true;
      log.RememberTask(event);
      if (event.kind != EventKind::kRecord) continue;
      const auto record = ParseJson(event.record, path);
      if (!record || !record->is_object()) continue;
      const std::string kind = StringOf(*record, "kind");
      // The action starts after "start"; a repeated phase of a job begins anew.
      if (kind == "start") learned = {true, false, learned.gave_up, 0};
      if (kind == kRecordedRecord) {
        learned.recorded = true;
        if (auto lost = record->find("lost"); lost != record->end() && lost->is_number_unsigned())
          learned.lost = lost->get<uint64_t>();
      }
      if (kind == "audit_failed") learned.gave_up = true;
    }
  }
}

std::optional<uint64_t> MarkOf(const SlotState& state, uint64_t blocks) {
  const BlockMark& mark = state.marks[blocks % CARREL_MARKS];
  if (blocks == 0 || mark.blocks != blocks) return std::nullopt;
  return mark.position;
}

bool IsStillThere(const Ring& ring, uint64_t position) {
  return ring.written() - position <= ring.bytes();
}

// Whether all is there that the log has not.
Result<bool> ReadRing(BpfSlot& slot, uint64_t blocks, LogWriter& log, EventCounts& counts) {
  SlotState& state = slot.state();
  Ring& ring = slot.ring();
  if (state.withheld != 0) log.WithholdStrings();
  const auto each = [&](auto take) {
    return [&state, take](const char* bytes, size_t size) -> Result<void> {
      RawHead head;
      if (size < sizeof head) return Fault("audit", "a BPF record is too short");
      std::memcpy(&head, bytes, sizeof head);
      return head.epoch == state.epoch ? take(head, bytes, size) : Result<void>();
    };
  };
  const auto mark = MarkOf(state, blocks);
  const bool whole = mark && IsStillThere(ring, *mark);
  if (whole) {
    const auto before = MarkOf(state, blocks - 1);
    if (before && *before < *mark && IsStillThere(ring, *before)) {
      ring.GoBack(*before);
      CARREL_TRY(
          ring.Read(*mark - *before, each([&](const RawHead& /*head*/, const char* bytes,
                                              size_t size) { return log.Reread(bytes, size); })));
    }
    ring.GoBack(*mark);
  } else {
    state.lost += 1;  // there, for whoever goes on when this process is killed too
  }
  log.TellBlocks([&slot](uint64_t number) { slot.Mark(number); });
  for (bool empty = false; !empty;) {
    CARREL_ASSIGN(empty, ring.Read(ring.bytes(),
                                   each([&](const RawHead& head, const char* bytes, size_t size) {
                                     if (head.type == kRawCall) {
                                       ++counts.events;
                                       counts.denied += (head.flags & kCallDenied) != 0;
                                     }
                                     return log.AppendEvents(bytes, size);
                                   })));
  }
  counts.stops += state.stops;
  counts.lost += state.lost;
  return whole;
}

}  // namespace

Result<void> RecoverLog(const std::string& state_dir, const LogReader& reader, LogWriter& log,
                        EventCounts& counts) {
  log.SetInterrupted();
  CARREL_ASSIGN(const Learned learned, Learn(reader.path(), log));
  Json found = {{"cut_off", reader.why()}, {"events", 0}, {"whole", true}};
  counts.lost += learned.lost + (learned.gave_up ? 1 : 0);
  if (learned.began && !learned.recorded) {
    const uint64_t before = counts.events;
    CARREL_ASSIGN(const auto slot, BpfSlot::TakeLeftBehind(state_dir, log.id()));
    bool whole = false;
    if (slot == nullptr) {
      counts.lost += 1;
    } else {
      CARREL_ASSIGN(whole, ReadRing(*slot, reader.blocks(), log, counts));
    }
    found["events"] = counts.events - before;
    found["whole"] = whole;
    EndRecording(log, counts);
    log.TellBlocks(nullptr);
    if (slot != nullptr) slot->Disarm();
  }
  CARREL_TRY(log.Append("interrupted", found));
  return log.Flush();
}

}  // namespace carrel
