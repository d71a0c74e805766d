#include <fmt/format.h>

#include <algorithm>

#include "audit/oddities.h"
#include "audit/render.h"
#include "audit/report.h"

namespace carrel {
namespace {

enum Level { kAlarm = 0, kLook = 1, kNote = 2 };

class Finder {
 public:
  explicit Finder(const ReportData& data) : data_(data) {}
  void Log(const LogVerdict& verdict);
  void Records();
  void Denied();
  void Odd();
  void Processes();
  void Network();
  std::vector<ReportFinding> Take();

 private:
  void Add(int level, std::string title, std::string detail = "", uint64_t count = 0,
           std::string find = "") {
    found_.push_back({level, std::move(title), std::move(detail), count, std::move(find)});
  }
  void Decision(const Json& members);
  void Outputs(const Json& members);
  void End(const Json& members);

  const ReportData& data_;
  std::vector<ReportFinding> found_;
};

bool IsTrue(const Json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key] == true;
}

// "a, b, c and 4 more".
std::string Some(const std::vector<std::string>& all, size_t most = 4) {
  std::string text;
  for (size_t i = 0; i < all.size() && i < most; ++i) text += (i > 0 ? ", " : "") + all[i];
  if (all.size() > most) text += fmt::format(" and {} more", all.size() - most);
  return text;
}

template <typename Map>
std::string SomeKeys(const Map& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key.substr(0, 120));
  return Some(keys);
}

void Finder::Log(const LogVerdict& verdict) {
  if (verdict.finding == LogFinding::kTruncated)
    Add(kAlarm, "The log ends early", verdict.why);
  else if (verdict.finding != LogFinding::kWhole)
    Add(verdict.finding == LogFinding::kUnsealed ? kLook : kAlarm,
        std::string("The log is not whole: ") + FindingName(verdict.finding), verdict.why);
  if (data_.stops > 0)
    Add(kNote, "Processes were held for the log to catch up",
        "They made calls faster than these could be written. Nothing was lost by it", data_.stops);
}

void Finder::Decision(const Json& members) {
  const Json decision = members.value("decision", Json::object());
  if (!decision.is_object()) return;
  if (decision.contains("allowed") && decision["allowed"] == false)
    Add(kLook, "The policy refused this job", "Nothing ran: the decision has the reasons");
  if (IsTrue(decision, "include_type_one_opt_outs"))
    Add(kLook, "Opted-out patients are included",
        "The project is on the list of those that may include type-one opt-outs");
  if (decision.contains("database") && decision["database"].is_object())
    Add(kNote, "A database was granted", decision["database"].value("name", std::string()));
}

void Finder::Outputs(const Json& members) {
  auto count = [&](const char* key) {
    return members.contains(key) && members[key].is_array() ? members[key].size() : size_t{0};
  };
  if (count("tampered") > 0)
    Add(kAlarm, "The action changed its code or its inputs", members["tampered"].dump(),
        count("tampered"));
  if (count("skipped") > 0)
    Add(kLook, "Files were not collected", members["skipped"].dump(), count("skipped"));
  std::vector<std::string> withheld;
  for (const Json& file : members.value("files", Json::array()))
    if (file.is_object() && !file.value("withheld", std::string()).empty())
      withheld.push_back(Printable(file.value("path", std::string("?"))));
  if (!withheld.empty())
    Add(kLook, "Outputs were withheld from level 4", Some(withheld), withheld.size());
}

void Finder::End(const Json& members) {
  if (IsTrue(members, "oom_killed")) Add(kLook, "The action was ended: out of memory");
  if (IsTrue(members, "timed_out")) Add(kLook, "The action was ended: out of time");
  if (IsTrue(members, "cancelled")) Add(kNote, "The job was cancelled");
  const auto error = members.find("error");
  if (error != members.end() && error->is_string() && !error->get<std::string>().empty())
    Add(kLook, "The run ended with an error", error->get<std::string>());
  const auto code = members.find("exit_code");
  if (code != members.end() && code->is_number_integer() && *code != 0)
    Add(kNote, "The action ended with status " + code->dump());
}

void Finder::Records() {
  for (const ReportRecord& record : data_.records) {
    if (record.kind == "decision") Decision(record.members);
    if (record.kind == "outputs") Outputs(record.members);
    if (record.kind == "end") End(record.members);
    if (record.kind == "interrupted")
      Add(kAlarm, "Carrel was interrupted", "The log was closed by a later command");
  }
}

// What a well-behaved program may be refused, because its library tries it and does without.
bool IsOftenTried(std::string_view call) {
  static constexpr std::string_view kNames[] = {
      "clone3(", "mbind(",     "set_mempolicy(", "rseq(",      "get_mempolicy(", "membarrier(",
      "ioctl(",  "fchmodat2(", "openat2(",       "cachestat(", "mseal("};
  // Namespaces, and characters typed into a terminal: no library's.
  static constexpr std::string_view kNever[] = {"CLONE_NEW", "TIOCSTI", "TIOCLINUX"};
  const auto is_in = [&](std::string_view part) { return call.find(part) != call.npos; };
  return std::any_of(std::begin(kNames), std::end(kNames),
                     [&](std::string_view name) { return call.starts_with(name); }) &&
         std::none_of(std::begin(kNever), std::end(kNever), is_in);
}

void Finder::Denied() {
  std::map<std::string, uint64_t> rare, common;
  for (const auto& [what, deed] : data_.denied_calls)
    (IsOftenTried(what) ? common : rare)[what] += deed.count;
  auto sum = [](const auto& map) {
    uint64_t total = 0;
    for (const auto& [key, count] : map) total += count;
    return total;
  };
  if (!rare.empty())
    Add(kAlarm, "Calls were denied that an analysis does not need", SomeKeys(rare), sum(rare),
        "denied");
  if (!common.empty())
    Add(kNote, "Calls were denied that libraries often try", SomeKeys(common), sum(common),
        "denied");
}

void Finder::Odd() {
  static const struct {
    const char* kind;
    int level;
    const char* title;
  } kOdd[] = {
      {kOddForeign, kAlarm, "Calls through a foreign interface (32-bit, x32)"},
      {kOddOutside, kAlarm, "Files outside the job's root were opened"},
      {kOddNotHeld, kAlarm, "Processes were killed that could not be held for the log"},
      {kOddMemoryOut, kLook, "Processes were chosen when memory had run out"},
      {kOddPlace, kLook, "Names were used that an analysis has no use for"},
      {kOddProgram, kLook, "Programs ran from places that the job can write"},
      {kOddName, kLook, "Names with control characters, or that are not UTF-8"},
      {kOddMemory, kNote, "Memory was made writable and executable"},
  };
  for (const auto& odd : kOdd) {
    auto found = data_.odd.find(odd.kind);
    if (found == data_.odd.end() || found->second.empty()) continue;
    uint64_t count = 0;
    for (const auto& [what, deed] : found->second) count += deed.count;
    const std::string& first = found->second.begin()->first;
    Add(odd.level, odd.title, SomeKeys(found->second), count,
        odd.kind == kOddForeign || odd.kind == kOddMemory ? first
                                                          : first.substr(first.rfind(' ') + 1));
  }
}

void Finder::Processes() {
  std::map<std::string, uint64_t> killed;
  for (const ReportProcess& process : data_.processes)
    if (process.ended.starts_with("signal")) ++killed[process.comm + ": " + process.ended];
  uint64_t count = 0;
  for (const auto& [what, n] : killed) count += n;
  if (count > 0)
    Add(kLook, "Processes were ended by a signal", SomeKeys(killed), count, "signal SIG");
}

void Finder::Network() {
  std::map<std::string, uint64_t> away;
  uint64_t count = 0;
  for (const auto& [what, deed] : data_.connections) {
    const bool local =
        what.find(" unix:") != std::string::npos || what.find(" inet:127.") != std::string::npos ||
        what.find(" inet6:[::1]") != std::string::npos || what.find(" none") != std::string::npos;
    if (local) continue;
    away[what] += deed.count;
    count += deed.count;
  }
  if (count > 0) Add(kLook, "Other hosts were addressed", SomeKeys(away), count, "inet");
}

std::vector<ReportFinding> Finder::Take() {
  std::stable_sort(
      found_.begin(), found_.end(),
      [](const ReportFinding& a, const ReportFinding& b) { return a.level < b.level; });
  return std::move(found_);
}

}  // namespace

std::vector<ReportFinding> FindUnusual(const ReportData& data, const LogVerdict& verdict) {
  Finder finder(data);
  finder.Log(verdict);
  finder.Records();
  finder.Denied();
  finder.Odd();
  finder.Network();
  finder.Processes();
  return finder.Take();
}

}  // namespace carrel
