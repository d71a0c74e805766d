// What encoder and decoder expect of the next call: the same as the last call with this number of
// this task. Both keep the same table, so the log holds only what differs.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

namespace carrel {

class Predictor {
 public:
  struct Entry {
    uint64_t args[6];
    int64_t result;
  };
  Predictor() : entries_(new Entry[kSize]) { Reset(); }
  void Reset() { std::memset(entries_.get(), 0, sizeof(Entry) * kSize); }
  Entry& For(uint32_t task, uint32_t nr) {
    return entries_[(task * 0x9e3779b1u ^ nr * 0x85ebca6bu) >> (32 - kBits)];
  }

 private:
  static constexpr int kBits = 10;
  static constexpr size_t kSize = 1u << kBits;
  std::unique_ptr<Entry[]> entries_;
};

/// The values that an argument of a task had lately, whatever the call: registers keep what earlier
/// calls left in them.
class Recents {
 public:
  static constexpr size_t kDepth = 15;
  Recents() : lists_(new List[kTasks * kArgs]) { Reset(); }
  void Reset() { std::memset(lists_.get(), 0, sizeof(List) * kTasks * kArgs); }

  /// Where `value` is, 1 to kDepth, or 0; moves it to the front, or puts it there.
  uint8_t Find(uint32_t task, int arg, uint64_t value) {
    List& list = For(task, arg);
    size_t at = 0;
    while (at < kDepth && list.values[at] != value) ++at;
    ToFront(list, at < kDepth ? at : kDepth - 1, value);
    return at < kDepth ? static_cast<uint8_t>(at + 1) : uint8_t{0};
  }
  /// The value at `place` (1 to kDepth); moves it to the front.
  uint64_t Take(uint32_t task, int arg, uint8_t place) {
    List& list = For(task, arg);
    const uint64_t value = list.values[place - 1];
    ToFront(list, place - 1u, value);
    return value;
  }
  void Put(uint32_t task, int arg, uint64_t value) { ToFront(For(task, arg), kDepth - 1, value); }

 private:
  struct List {
    uint64_t values[kDepth];
  };
  static constexpr uint32_t kTasks = 32;
  static constexpr size_t kArgs = 6;
  List& For(uint32_t task, int arg) {
    return lists_[(task % kTasks) * kArgs + static_cast<uint32_t>(arg)];
  }
  static void ToFront(List& list, size_t at, uint64_t value) {
    std::memmove(list.values + 1, list.values, at * sizeof(uint64_t));
    list.values[0] = value;
  }
  std::unique_ptr<List[]> lists_;
};

}  // namespace carrel
