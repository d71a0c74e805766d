#define OPENSSL_SUPPRESS_DEPRECATED
#include "audit/exec_digests.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "audit/raw_event.h"
#include "base/fs.h"

namespace carrel {
namespace {

// An action that executes huge (sparse) files, or many, must not keep its supervisor: what is
// beyond has no digest.
constexpr uint64_t kMaxFile = 1ull << 30;
constexpr uint64_t kMaxTotal = 8ull << 30;
constexpr size_t kMaxFiles = 16384;
constexpr size_t kMaxWaiting = 64;
// Read at once: less than a thread's start takes.
constexpr uint64_t kSmallFile = 64u << 10;

bool IsSame(int fd, const ExecutedFile& file) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_ino == file.inode &&
         static_cast<uint64_t>(info.st_size) == file.size && info.st_ctim.tv_sec == file.ctime_s &&
         info.st_ctim.tv_nsec == static_cast<long>(file.ctime_ns);
}

// 32 bytes, or none. `size`: what is expected.
std::string Digest(int fd, uint64_t size) {
  SHA256_CTX context;
  SHA256_Init(&context);
  std::string buffer(std::min<uint64_t>(size + 1, 256u << 10), '\0');
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return "";
    if (n == 0) break;
    SHA256_Update(&context, buffer.data(), static_cast<size_t>(n));
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256_Final(reinterpret_cast<unsigned char*>(digest.data()), &context);
  return digest;
}

}  // namespace

ExecDigests::~ExecDigests() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// Never a FIFO or a device: what a path leads to now may be another file than the one executed.
UniqueFd ExecDigests::Open(const ExecutedFile& file) {
  const std::string proc = "/proc/" + std::to_string(file.tid);
  if (!root_) root_ = UniqueFd(::open((proc + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  UniqueFd found(::open((proc + "/exe").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (found && IsSame(found.get(), file)) return found;
  if (!root_) return UniqueFd();
  auto named = OpenInRoot(root_.get(), file.path, O_RDONLY | O_NONBLOCK);
  return named && IsSame(named->get(), file) ? std::move(*named) : UniqueFd();
}

// Only what lies where the action's root does, which is read-only to it.
std::optional<DigestCache::Key> ExecDigests::CacheKey(int fd) const {
  struct stat root {
  }, info{};
  if (!root_ || ::fstat(root_.get(), &root) != 0 || ::fstat(fd, &info) != 0) return std::nullopt;
  if (root.st_dev != info.st_dev) return std::nullopt;
  return DigestCache::Key{info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size),
                          info.st_ctim.tv_sec, info.st_ctim.tv_nsec};
}

void ExecDigests::Add(ExecutedFile file) {
  const Key key{file.device, file.inode, file.ctime_s, file.ctime_ns, file.size};
  if (seen_.size() >= kMaxFiles || !seen_.insert(key).second) return;
  Work work{{std::move(file), "", 0}, UniqueFd(), std::nullopt};
  ExecDigest& result = work.result;
  if (result.file.size > kMaxFile || bytes_ + result.file.size > kMaxTotal) {
    result.flags = kDataTruncated;
  } else {
    bytes_ += result.file.size;
    work.fd = Open(result.file);
    if (!work.fd) result.flags = kDataFault;
  }
  if (work.fd) work.key = CacheKey(work.fd.get());
  if (work.key) result.digest = cache_.Find(*work.key);
  if (work.fd && result.digest.empty() && result.file.size > kSmallFile)
    return Queue(std::move(work));
  ExecDigest done = Finish(std::move(work));
  const std::lock_guard lock(mutex_);
  done_.push_back(std::move(done));
}

void ExecDigests::Queue(Work work) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < kMaxWaiting; });
  waiting_.push_back(std::move(work));
  ++unfinished_;
  if (!thread_.joinable()) {
    // The supervisor's signals are its own.
    sigset_t all, before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, &before);
    thread_ = std::thread([this] { Loop(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  changed_.notify_all();
}

ExecDigest ExecDigests::Finish(Work work) const {
  ExecDigest& result = work.result;
  if (!work.fd || !result.digest.empty()) return std::move(result);
  result.digest = Digest(work.fd.get(), result.file.size);
  if (result.digest.empty()) result.flags = kDataFault;
  if (!IsSame(work.fd.get(), result.file)) {
    result.digest.clear();
    result.flags = kDataChanged;
  } else if (work.key) {
    cache_.Keep(*work.key, result.digest);
  }
  return std::move(result);
}

std::vector<ExecDigest> ExecDigests::Take(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) changed_.wait(lock, [this] { return unfinished_ == 0; });
  return std::exchange(done_, {});
}

void ExecDigests::Loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    Work work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    ExecDigest done = Finish(std::move(work));
    lock.lock();
    done_.push_back(std::move(done));
    --unfinished_;
    changed_.notify_all();
  }
}

}  // namespace carrel
