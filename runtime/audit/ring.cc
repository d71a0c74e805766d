#include "audit/ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

namespace carrel {

Result<Ring> Ring::Map(UniqueFd fd, size_t bytes) {
  Ring ring;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* consumer = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (consumer == MAP_FAILED) return SysFault("audit", "map the ring's consumer page");
  ring.bytes_ = bytes;
  ring.consumer_ = static_cast<std::atomic<uint64_t>*>(consumer);
  void* producer =
      ::mmap(nullptr, page + bytes, PROT_READ, MAP_SHARED, fd.get(), static_cast<off_t>(page));
  if (producer == MAP_FAILED) return SysFault("audit", "map the ring");
  ring.producer_ = static_cast<const std::atomic<uint64_t>*>(producer);
  ring.data_ = static_cast<const char*>(producer) + page;
  ring.fd_ = std::move(fd);
  return ring;
}

Ring::Ring(Ring&& other) noexcept { *this = std::move(other); }

Ring& Ring::operator=(Ring&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  std::swap(consumer_, other.consumer_);
  std::swap(producer_, other.producer_);
  std::swap(data_, other.data_);
  std::swap(wrapped_, other.wrapped_);
  return *this;
}

Ring::~Ring() {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  if (consumer_ != nullptr) ::munmap(consumer_, page);
  if (producer_ != nullptr) ::munmap(const_cast<std::atomic<uint64_t>*>(producer_), page + bytes_);
}

void Ring::Clear() {
  consumer_->store(producer_->load(std::memory_order_acquire), std::memory_order_release);
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
