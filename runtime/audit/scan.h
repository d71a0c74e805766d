// Reads a log with several threads: blocks are decoded beside each other, and what was made of them
// is taken in the order of the log.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "audit/ordered_work.h"
#include "audit/query.h"

namespace carrel {

/// `visit(event, partial)` is called for each event that the filter lets through, on some thread;
/// each block has a Partial of its own. `take(partial)` is called on the caller's thread, in order.
template <typename Partial, typename Visit, typename Take>
Result<void> ScanBlocks(LogReader& log, const EventFilter& filter, Visit visit, Take take) {
  struct Block {
    BlockHeader header;
    std::string payload;
    Partial out{};
  };
  OrderedWork work;
  for (;;) {
    CARREL_ASSIGN(const bool more, log.NextBlock());
    if (!more) return work.Drain();
    if (!BlockMayMatch(log, filter)) continue;
    auto block = std::make_shared<Block>();
    block->header = log.header();
    block->payload = log.payload();
    auto decode = [block, &log, &filter, &visit]() -> Result<void> {
      thread_local BlockDecoder decoder;
      CARREL_TRY(decoder.Open(block->header, block->payload));
      AuditEvent event;
      for (;;) {
        CARREL_ASSIGN(const bool row, decoder.Next(event));
        if (!row) return {};
        if (Matches(event, log, filter)) visit(event, block->out);
      }
    };
    CARREL_TRY(work.Push(std::move(decode), [block, &take]() -> Result<void> {
      take(std::move(block->out));
      return {};
    }));
  }
}

}  // namespace carrel
