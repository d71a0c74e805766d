// Columns back into rows. Takes any bytes: what does not hold together is an error, never a crash.
#pragma once

#include <string>
#include <vector>

#include "audit/block.h"
#include "audit/bytes.h"
#include "audit/event.h"
#include "audit/predictor.h"

namespace carrel {

class BlockDecoder {
 public:
  /// Starts on an event block; `payload` must stay alive.
  Result<void> Open(const BlockHeader& header, std::string_view payload);

  /// The next row, or false at the end. Views in `event` are valid until the next Open.
  Result<bool> Next(AuditEvent& event);

 private:
  Result<void> ReadStrings(std::string_view text);
  void ReadTask();
  std::string_view String(ByteReader& in);
  void ReadCall(AuditEvent& event, uint32_t task);
  void ReadOther(AuditEvent& event, uint32_t task);
  bool AllAtEnd() const;

  std::string bytes_[kColumns];
  ByteReader columns_[kColumns];
  std::vector<std::string_view> strings_;
  size_t next_string_ = 0;
  std::vector<TaskInfo> tasks_;
  Predictor predictor_;
  Recents recents_;
  uint32_t rows_left_ = 0;
  bool broken_ = false;
  int64_t last_end_ = 0;
};

}  // namespace carrel
