#include "audit/ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <utility>

namespace carrel {

Result<Ring> Ring::Map(UniqueFd fd, size_t bytes) {
  Ring ring;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* consumer = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (consumer == MAP_FAILED) return SysFault("audit", "map the ring's consumer page");
  ring.bytes_ = bytes;
  ring.part_shift_ = std::countr_zero(bytes / kParts);
  ring.consumer_ = static_cast<std::atomic<uint64_t>*>(consumer);
  ring.position_ = ring.consumer_->load(std::memory_order_relaxed);
  // The room for all; behind the producer's page, the data come when they are reached.
  void* room = ::mmap(nullptr, page + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return SysFault("audit", "map the ring");
  ring.producer_ = static_cast<const std::atomic<uint64_t>*>(room);
  ring.data_ = static_cast<const char*>(room) + page;
  if (::mmap(room, page, PROT_READ, MAP_SHARED | MAP_FIXED, fd.get(), static_cast<off_t>(page)) !=
      room)
    return SysFault("audit", "map the ring's producer page");
  ring.fd_ = std::move(fd);
  return ring;
}

Result<void> Ring::MapParts(size_t offset, size_t bytes) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t part_bytes = size_t{1} << part_shift_;
  for (size_t part = offset >> part_shift_; part <= (offset + bytes - 1) >> part_shift_; ++part) {
    const size_t index = part % kParts;  // past the end it goes on at the beginning
    if ((mapped_ >> index & 1) != 0) continue;
    void* place = const_cast<char*>(data_) + index * part_bytes;
    if (::mmap(place, part_bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd_.get(),
               static_cast<off_t>(2 * page + index * part_bytes)) != place)
      return SysFault("audit", "map a part of the ring");
    mapped_ |= 1u << index;
  }
  return {};
}

Ring::Ring(Ring&& other) noexcept { *this = std::move(other); }

Ring& Ring::operator=(Ring&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  std::swap(position_, other.position_);
  std::swap(consumer_, other.consumer_);
  std::swap(producer_, other.producer_);
  std::swap(data_, other.data_);
  std::swap(part_shift_, other.part_shift_);
  std::swap(mapped_, other.mapped_);
  std::swap(wrapped_, other.wrapped_);
  return *this;
}

Ring::~Ring() {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (consumer_ != nullptr) ::munmap(consumer_, page);
  if (producer_ != nullptr) ::munmap(const_cast<std::atomic<uint64_t>*>(producer_), page + bytes_);
}

void Ring::Clear() {
  position_ = written();
  consumer_->store(position_, std::memory_order_release);
}

const char* Ring::Contiguous(uint64_t position, size_t bytes) {
  const size_t offset = position & (bytes_ - 1);
  if (offset + bytes <= bytes_) return data_ + offset;
  const size_t first = bytes_ - offset;
  wrapped_.resize(bytes);
  std::memcpy(wrapped_.data(), data_ + offset, first);
  std::memcpy(wrapped_.data() + first, data_, bytes - first);
  return wrapped_.data();
}

}  // namespace carrel
