#include "job/await_database.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/interrupt.h"

namespace carrel {
namespace {

constexpr useconds_t kPollMicroseconds = 100'000;
constexpr int kPollsASecond = 10;

Result<DatabaseConfig> ConfigNow(const HostConfig& host, const std::string& name) {
  DatabaseConfig database;
  if (auto started = host.databases.find(name); started != host.databases.end())
    database = started->second;
  if (host.file.empty()) return database;
  auto now = LoadHostConfig(host.file, host.state);
  // An operator may be in the middle of writing it.
  if (!now) return database;
  auto found = now->databases.find(name);
  if (found == now->databases.end())
    return Refused("/databases/" + name, "the database is no longer in the configuration");
  return found->second;
}

}  // namespace

Result<UniqueFd> TryDatabasePlace(const std::string& state, const std::string& name,
                                  int64_t max_jobs) {
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(state + "/databases", 0700));
  for (int64_t i = 0; i < max_jobs; ++i) {
    CARREL_ASSIGN(UniqueFd place, OpenBeneath(dir.get(), name + "." + std::to_string(i),
                                              O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    if (::flock(place.get(), LOCK_EX | LOCK_NB) == 0) return place;
    if (errno != EWOULDBLOCK) return SysFault(state + "/databases", "flock");
  }
  return UniqueFd();
}

Result<UniqueFd> AwaitDatabase(const HostConfig& host, const std::string& name,
                               const std::function<void(const std::string& why)>& waiting) {
  for (int poll = 0;; ++poll) {
    CARREL_ASSIGN(const DatabaseConfig database, ConfigNow(host, name));
    std::string why = "the database " + name + " is in maintenance";
    if (database.maintenance == Maintenance::kRefuse) {
      Error error = Refused("/databases/" + name, why, "Try again later");
      error.code = EAGAIN;
      return error;
    }
    if (database.maintenance == Maintenance::kOff) {
      if (database.max_jobs == 0) return UniqueFd();
      CARREL_ASSIGN(UniqueFd place, TryDatabasePlace(host.state, name, database.max_jobs));
      if (place) return place;
      why = "all places of the database " + name + " are taken";
    }
    if (poll % kPollsASecond == 0) waiting(why);
    CARREL_TRY(CheckCancelled());
    ::usleep(kPollMicroseconds);
  }
}

}  // namespace carrel
