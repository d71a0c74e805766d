#include "agent/inspect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "agent/verbs.h"
#include "base/fs.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr size_t kChunk = 64u << 10;

// The published log, of the latest month that has one.
Result<UniqueFd> OpenPublished(const HostConfig& host, const std::string& id) {
  const Error none = BadInput(id, "there is no log of such a job", "`carrel list` shows jobs");
  auto logs = OpenPath(host.high_privacy + "/logs", O_RDONLY | O_DIRECTORY);
  if (!logs) return none;
  CARREL_ASSIGN(auto months, ListDir(logs->get()));
  std::reverse(months.begin(), months.end());
  for (const std::string& month : months) {
    auto log = OpenBeneath(logs->get(), month + "/os-job-" + id + "/logs.txt",
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (log) return log;
  }
  return none;
}

Result<UniqueFd> OpenLog(const HostConfig& host, const std::string& id) {
  if (!IsName(id)) return BadInput(id, "not a name that a job can have");
  auto running = OpenPath(host.state + "/jobs/" + id + "/action.log", O_RDONLY | O_NOFOLLOW);
  if (running) return running;
  return OpenPublished(host, id);
}

// Where the last `lines` lines begin.
Result<off_t> TailOffset(int fd, int64_t lines) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SysFault("the action's log", "fstat");
  std::string chunk(kChunk, '\0');
  int64_t seen = 0;
  for (off_t end = info.st_size; end > 0;) {
    const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(kChunk));
    const ssize_t n = ::pread(fd, chunk.data(), static_cast<size_t>(end - begin), begin);
    if (n < 0) return SysFault("the action's log", "read");
    for (ssize_t i = n - 1; i >= 0; --i)
      if (chunk[static_cast<size_t>(i)] == '\n' && begin + i + 1 < info.st_size + (lines == 0) &&
          ++seen >= std::max<int64_t>(lines, 1))
        return begin + i + 1;
    end = begin;
  }
  return off_t{0};
}

Result<bool> ActionRuns(const HostConfig& host, const std::string& id) {
  CARREL_ASSIGN(const VerbAnswer answer, StatusVerb(host, id));
  return answer.state == JobState::kExecuting;
}

}  // namespace

Result<OrderedJson> ListJobs(const HostConfig& host) {
  CARREL_ASSIGN(const auto ids, JobDir::List(host.state));
  OrderedJson jobs = OrderedJson::array();
  for (const std::string& id : ids) {
    CARREL_ASSIGN(const VerbAnswer answer, StatusVerb(host, id));
    auto definition = ReadJsonFile(host.state + "/jobs/" + id + "/definition.json", 4u << 20);
    const auto member = [&](const char* name) {
      return definition && definition->is_object() ? definition->value(name, "") : std::string();
    };
    jobs.push_back({{"id", id},
                    {"state", StateName(answer.state)},
                    {"timestamp_ns", answer.timestamp_ns},
                    {"workspace", member("workspace")},
                    {"action", member("action")}});
  }
  return OrderedJson{{"jobs", std::move(jobs)}};
}

Result<void> ReadJobLog(const HostConfig& host, const std::string& id, const LogOptions& options,
                        const std::function<Result<void>(std::string_view)>& sink) {
  CARREL_ASSIGN(const UniqueFd log, OpenLog(host, id));
  if (options.tail >= 0) {
    CARREL_ASSIGN(const off_t begin, TailOffset(log.get(), options.tail));
    if (::lseek(log.get(), begin, SEEK_SET) < 0) return SysFault("the action's log", "lseek");
  }
  std::string chunk(kChunk, '\0');
  for (bool last = !options.follow;;) {
    const ssize_t n = ::read(log.get(), chunk.data(), chunk.size());
    if (n < 0 && errno != EINTR) return SysFault("the action's log", "read");
    if (n > 0) {
      CARREL_TRY(sink(std::string_view(chunk).substr(0, static_cast<size_t>(n))));
      continue;
    }
    if (last) return {};
    // What was written before the end was seen is read once more.
    CARREL_ASSIGN(const bool runs, ActionRuns(host, id));
    last = !runs;
    if (!last) ::usleep(200'000);
  }
}

}  // namespace carrel
