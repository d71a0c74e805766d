// The reader's side of a BPF ring buffer. libbpf's own reader maps the data twice (so that no
// record wraps), which doubles the resident memory; this one maps it once, a part when it is
// reached (the kernel enters every page of a map, so all of it would cost each start), and copies
// the record that wraps.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

class Ring {
 public:
  /// `bytes` is the size that the ring was made with.
  static Result<Ring> Map(UniqueFd ring, size_t bytes);
  Ring() = default;
  Ring(Ring&& other) noexcept;
  Ring& operator=(Ring&& other) noexcept;
  ~Ring();

  int fd() const { return fd_.get(); }

  /// Bytes that were written and not yet given back.
  uint64_t Waiting() const {
    return producer_->load(std::memory_order_acquire) - consumer_->load(std::memory_order_relaxed);
  }

  /// Forgets what is there: left-overs of the job before.
  void Clear();

  /// The end of the record that Read is at, or was at last.
  uint64_t position() const { return position_; }
  /// The end of what was written.
  uint64_t written() const { return producer_->load(std::memory_order_acquire); }
  size_t bytes() const { return bytes_; }

  /// Goes back to a position at which Read has been. The caller knows that nobody writes any more,
  /// and that no more than bytes() were written since.
  void GoBack(uint64_t position) {
    consumer_->store(position, std::memory_order_release);
    position_ = position;
  }

  /// Calls `consume(record, bytes)` for what is there, in order, until it is empty, `max_bytes`
  /// went by, or `consume` fails; what was consumed successfully is given back to the kernel.
  /// Returns whether the ring was found empty.
  template <typename Consume>
  Result<bool> Read(size_t max_bytes, Consume consume);

 private:
  static constexpr uint32_t kBusy = 1u << 31;
  static constexpr uint32_t kDiscard = 1u << 30;
  static constexpr size_t kHeader = 8;
  static constexpr size_t kParts = 16;

  /// Maps the parts that hold `bytes` (not 0) at `offset` of the data, if they aren't yet.
  Result<void> Reach(size_t offset, size_t bytes) {
    const size_t first = offset >> part_shift_;
    const bool one = first == (offset + bytes - 1) >> part_shift_;
    return one && (mapped_ >> first & 1) != 0 ? Result<void>() : MapParts(offset, bytes);
  }
  Result<void> MapParts(size_t offset, size_t bytes);
  const char* Contiguous(uint64_t position, size_t bytes);

  UniqueFd fd_;
  size_t bytes_ = 0;
  uint64_t position_ = 0;
  std::atomic<uint64_t>* consumer_ = nullptr;
  const std::atomic<uint64_t>* producer_ = nullptr;
  const char* data_ = nullptr;
  int part_shift_ = 0;   ///< a part has 1 << part_shift_ bytes
  uint32_t mapped_ = 0;  ///< a bit for each part
  std::vector<char> wrapped_;
};

template <typename Consume>
Result<bool> Ring::Read(size_t max_bytes, Consume consume) {
  uint64_t at = consumer_->load(std::memory_order_relaxed);
  const uint64_t limit = at + max_bytes;
  uint64_t given_back = at;
  for (;;) {
    const uint64_t end = producer_->load(std::memory_order_acquire);
    if (at == end) break;
    while (at < end && at < limit) {
      CARREL_TRY(Reach(at & (bytes_ - 1), kHeader));
      // A header is 8 bytes and records are multiples of 8: a header never wraps.
      auto* word = reinterpret_cast<const std::atomic<uint32_t>*>(data_ + (at & (bytes_ - 1)));
      const uint32_t length = word->load(std::memory_order_acquire);
      if ((length & kBusy) != 0) {
        consumer_->store(at, std::memory_order_release);
        return true;  // being written: its writer is quick, but do not wait for it here
      }
      const size_t size = length & ~(kBusy | kDiscard);
      if (size > bytes_ - kHeader) return Fault("audit", "the BPF ring holds an impossible length");
      CARREL_TRY(Reach(at & (bytes_ - 1), kHeader + size));
      const char* record = Contiguous(at + kHeader, size);
      at += (size + kHeader + 7) & ~uint64_t{7};
      position_ = at;
      if ((length & kDiscard) == 0) CARREL_TRY(consume(record, size));
      // Not after each record: the position is on a cache line that the kernel reads each time.
      if (at - given_back >= bytes_ / 32) {
        consumer_->store(at, std::memory_order_release);
        given_back = at;
      }
    }
    if (at >= limit) break;
  }
  consumer_->store(at, std::memory_order_release);
  return at < limit;
}

}  // namespace carrel
