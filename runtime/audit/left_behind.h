// A log whose carrel was killed. What it had read of the ring and not yet written is still in the
// ring, which is the kernel's and pinned, and so is what the action's tasks did until they died:
//
//   ring   |........|== in blocks ==|== read, in no block ==|== not read ==|........|
//                   ^ mark n-1      ^ mark n                ^ consumer     ^ producer
//
// Before block n is written, its mark gets the position up to which the ring will then be in the
// log (BlockMark): whether carrel was killed before or after it wrote the block, the number of
// blocks in the log says which mark holds. What lies between mark n-1 and mark n is read too, and
// not recorded again: strings that a task had given to a call that it was still in.
#pragma once

#include <string>

#include "audit/log_reader.h"
#include "audit/log_writer.h"

namespace carrel {

/// Goes on with a log that was cut off, after what `reader` has read to its end: records what is
/// left in the ring of this boot's BPF programs, and says in a record "interrupted" what was found.
/// Calls are added to `counts`; when there may be some that are gone, so is `lost`.
Result<void> RecoverLog(const std::string& state_dir, const LogReader& reader, LogWriter& log,
                        EventCounts& counts);

}  // namespace carrel
