// What a block may hold, for a query to pass it over: a Bloom filter in the block's header over the
// directories of its paths, its tasks, their names, and whether it has socket addresses. It can say
// yes in error (in about one case of a hundred), never no.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace carrel {

class BlockFilter {
 public:
  /// Every directory that is a prefix of `path`.
  void AddPath(std::string_view path);
  void AddTask(uint32_t id);
  void AddComm(std::string_view comm);
  void AddAddress();

  /// The filter's bytes, as they stand in the header; none when there were too many names.
  std::string Bytes() const;
  void Reset();

 private:
  void Add(uint64_t hash);
  void MakeRoom();

  static constexpr size_t kRecent = 1024;
  std::vector<uint64_t> hashes_;
  bool overflowed_ = false;
  std::array<uint64_t, kRecent> recent_{};  ///< most directories come again and again
};

/// May the block with this filter hold an event...
/// ...with a path, claimed or real, that begins with `prefix`?
bool FilterMayHavePath(std::string_view filter, std::string_view prefix);
/// ...of a task with this process or thread id, inside or outside?
bool FilterMayHaveTask(std::string_view filter, uint32_t id);
/// ...of a task of this name?
bool FilterMayHaveComm(std::string_view filter, std::string_view comm);
/// ...with a socket address?
bool FilterMayHaveAddress(std::string_view filter);

}  // namespace carrel
