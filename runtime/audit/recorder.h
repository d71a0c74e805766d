// Raw records of a source into rows: remembers who the tasks are, and joins what the kernel side
// wrote in pieces (strings at entry, the opened file, the call at exit).
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "audit/block_encoder.h"
#include "audit/event.h"
#include "audit/exec_digests.h"
#include "base/result.h"

namespace carrel {

class Recorder {
 public:
  explicit Recorder(BlockEncoder& encoder) : encoder_(encoder) {}

  /// One record of a ring. What is not a valid record is an error: the ring is the kernel's word.
  Result<void> Add(const char* bytes, size_t size);

  /// What a row of the log says of its task: for whoever goes on with a log.
  void Remember(const AuditEvent& event);

  /// A lifecycle record: `json` as one object.
  void AddRecord(int64_t time_ns, std::string_view json);

  /// The digest of an executed file.
  void AddDigest(int64_t time_ns, const ExecDigest& digest);

  bool HasExecuted() const { return !executed_.empty(); }
  /// The files of the execs since the last call.
  std::vector<ExecutedFile> TakeExecuted() { return std::exchange(executed_, {}); }

 private:
  // Pieces that wait for their call (or exec). Offsets, because the text grows.
  struct Pending {
    struct Piece {
      uint8_t arg, kind, flags;
      size_t offset, length;
    };
    std::string text;
    std::vector<Piece> pieces;
    FileInfo file;
    ExecutedFile executed;  ///< of an exec: but for its path
    size_t file_offset = 0, file_length = 0;
    bool has_file = false;
  };
  struct Task {
    TaskInfo info;
    std::string comm;
    BlockEncoder::TaskRef ref;
    Pending pending[2];  ///< of the call, and of an exec inside it
    bool waiting = false;
  };

  Task& Find(uint32_t tid);
  Result<void> AddData(const char* bytes, size_t size);
  Result<void> AddFile(const char* bytes, size_t size);
  Result<void> AddLifecycle(const RawHead& head, const char* bytes, size_t size);
  void AddCall(const RawCall& call);
  void Take(Pending& pending, AuditEvent& event);
  void Emit(AuditEvent& event, Task& task);

  BlockEncoder& encoder_;
  std::unordered_map<uint32_t, Task> tasks_;
  Task* last_ = nullptr;
  uint32_t last_tid_ = 0;
  AuditEvent event_;
  std::vector<ExecutedFile> executed_;
};

/// The path of a RawFile's parts (file first, each with its NUL): "/a/b".
std::string JoinParts(std::string_view parts);

}  // namespace carrel
