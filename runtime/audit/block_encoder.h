// Rows into columns: the events of one block, until it is written.
#pragma once

#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "audit/block.h"
#include "audit/block_filter.h"
#include "audit/event.h"
#include "audit/predictor.h"

namespace carrel {

class BlockEncoder {
 public:
  BlockEncoder();

  size_t rows() const { return header_.rows; }
  size_t raw_bytes() const { return raw_bytes_; }

  /// The index of a task in this block's table; `cached` is the caller's memory of it (block number
  /// and index), so that a task is entered once.
  struct TaskRef {
    uint64_t block = 0;
    uint32_t index = 0;
  };
  uint32_t Task(const TaskInfo& task, TaskRef& ref);

  /// The plain call, the path that must be fast.
  void Call(const RawCall& call, uint32_t task, const std::vector<Datum>* data,
            const FileInfo* file);
  /// Any row but a call: `event.kind` and its members.
  void Other(const AuditEvent& event, uint32_t task);

  /// Header (but for index and previous hash) and columns of the block so far. The views are valid
  /// until Reset.
  BlockHeader Header() const;
  std::vector<std::pair<uint8_t, std::string_view>> Columns() const;
  /// Begins the next block.
  void Reset();

 private:
  void Row(uint8_t kind, uint32_t task, int64_t start, int64_t end);
  void Data(const std::vector<Datum>& data);
  void File(const FileInfo& file);
  size_t String(ByteWriter& out, std::string_view text);
  void Path(ByteWriter& out, std::string_view text);

  BlockHeader header_;
  ByteWriter columns_[kColumns];
  Predictor predictor_;
  Recents recents_;
  std::unordered_map<std::string, uint32_t> strings_;
  std::set<uint32_t> numbers_;
  BlockFilter filter_;
  std::vector<bool> paths_;  ///< strings that the filter has, by index
  uint64_t block_ = 1;
  uint32_t tasks_ = 0;
  uint32_t last_nr_ = ~0u;
  int64_t last_end_ = 0;
  size_t raw_bytes_ = 0;
};

/// Bits of a row's kind byte, above the EventKind.
inline constexpr uint8_t kRowKindMask = 0x0f;
inline constexpr uint8_t kRowHasData = 0x10;
inline constexpr uint8_t kRowHasFile = 0x20;
inline constexpr uint8_t kRowHasFlags = 0x40;
/// Bit of a call's mask byte, above one bit for each argument that is not as predicted.
inline constexpr uint8_t kMaskResult = 0x40;

}  // namespace carrel
