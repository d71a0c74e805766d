// The report of a selftest: table, JSON, JUnit XML; and the comparison of two.
#include <fcntl.h>
#include <fmt/format.h>

#include <cstdio>

#include "audit/behaviour.h"
#include "base/clock.h"
#include "base/fs.h"
#include "cli/command.h"
#include "cli/pipeline_report.h"
#include "cli/selftest.h"
#include "job/utf8.h"

namespace carrel {
namespace {

const char* OutcomeName(Check::Outcome outcome) {
  if (outcome == Check::Outcome::kPassed) return "passed";
  return outcome == Check::Outcome::kFailed ? "failed" : "skipped";
}

// XML 1.0 has no way to write most control characters: MakeVisible takes them out first.
std::string Xml(const std::string& text) {
  std::string out;
  for (const char c : MakeVisible(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string NameOf(const Check& check) {
  std::string name = check.run;
  if (!check.action.empty()) name += (name.empty() ? "" : ", ") + check.action;
  return name + (name.empty() ? "" : ": ") + check.what;
}

Result<Json> ReadReport(const std::string& state, const std::string& name) {
  if (name.find('/') == std::string::npos)
    return ReadJsonFile(state + "/selftest/" + name + "/report.json", 64u << 20);
  const bool directory = OpenPath(name, O_RDONLY | O_DIRECTORY).has_value();
  return ReadJsonFile(directory ? name + "/report.json" : name, 64u << 20);
}

/// One line of a comparison.
struct Change {
  std::string where, what, before, after;
};

// Results by "study/run/action" and what there is to compare of them.
std::map<std::string, Json> ActionsOf(const Json& report) {
  std::map<std::string, Json> actions;
  for (const Json& run : report.value("runs", Json::array()))
    for (const Json& action : run.value("actions", Json::array()))
      actions[run.value("study", "") + "/" + run.value("run", "") + "/" +
              action.value("action", "")] = action;
  return actions;
}
std::map<std::string, Json> ChecksOf(const Json& report) {
  std::map<std::string, Json> checks;
  for (const Json& check : report.value("checks", Json::array()))
    checks[check.value("study", "") + "/" + check.value("run", "") + "/" +
           check.value("action", "") + ": " + check.value("what", "")] = check.value("outcome", "");
  return checks;
}

// What was done of each study: "run" where at least one check was made, else why it was skipped.
std::map<std::string, std::string> StudiesOf(const Json& report) {
  std::map<std::string, std::string> studies;
  for (const Json& check : report.value("checks", Json::array())) {
    std::string& done = studies[check.value("study", "")];
    if (check.value("outcome", "") != "skipped")
      done = "run";
    else if (done.empty())
      done = "skipped: " + check.value("detail", "");
  }
  return studies;
}

// A study that only one report has run is one change; nothing else of it is compared.
std::set<std::string> StudiesOfOne(const Json& before, const Json& after,
                                   std::vector<Change>& changes) {
  auto old_studies = StudiesOf(before), new_studies = StudiesOf(after);
  std::set<std::string> names, of_one;
  for (const auto* map : {&old_studies, &new_studies})
    for (const auto& [name, done] : *map) names.insert(name);
  for (const std::string& name : names) {
    std::string &a = old_studies[name], &b = new_studies[name];
    for (std::string* done : {&a, &b})
      if (done->empty()) *done = "not run";
    if (a == "run" && b == "run") continue;
    of_one.insert(name);
    if (a != b) changes.push_back({name, "study", a, b});
  }
  return of_one;
}

// Keys begin with the study's name and a '/'.
void LeaveOut(const std::set<std::string>& studies, std::map<std::string, Json>& map) {
  std::erase_if(map, [&](const auto& entry) {
    return studies.contains(entry.first.substr(0, entry.first.find('/')));
  });
}

std::string Short(const Json& value) {
  if (value.is_null()) return "-";
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

void CompareMaps(const std::map<std::string, Json>& before,
                 const std::map<std::string, Json>& after, const std::string& what,
                 std::vector<Change>& changes) {
  std::set<std::string> keys;
  for (const auto* map : {&before, &after})
    for (const auto& [key, value] : *map) keys.insert(key);
  for (const std::string& key : keys) {
    const auto old_value = before.find(key), new_value = after.find(key);
    const Json a = old_value == before.end() ? Json() : old_value->second;
    const Json b = new_value == after.end() ? Json() : new_value->second;
    if (a != b) changes.push_back({key, what, Short(a), Short(b)});
  }
}

Result<Behaviour> BehaviourIn(const Json& action) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(action.value("audit_log", "")));
  return BehaviourOf(log);
}

// Calls, programs and addresses that only one of the two runs has. Files are left out: their names
// differ with job ids and temporary names.
Result<void> CompareAudit(const std::string& where, const Json& before, const Json& after,
                          std::vector<Change>& changes) {
  if (before.value("audit_log", "").empty() || after.value("audit_log", "").empty()) return {};
  CARREL_ASSIGN(const Behaviour old_one, BehaviourIn(before));
  CARREL_ASSIGN(const Behaviour new_one, BehaviourIn(after));
  for (const Difference& one : Compare(old_one, new_one)) {
    if (one.kind == "read" || one.kind == "written") continue;
    if (one.before != 0 && one.after != 0) continue;
    changes.push_back(
        {where, one.kind + " " + one.name, std::to_string(one.before), std::to_string(one.after)});
  }
  return {};
}

}  // namespace

size_t SelftestReport::Count(Check::Outcome outcome) const {
  return static_cast<size_t>(std::count_if(
      checks.begin(), checks.end(), [&](const Check& check) { return check.outcome == outcome; }));
}

OrderedJson SelftestJson(const SelftestReport& report) {
  OrderedJson checks = OrderedJson::array(), runs = OrderedJson::array();
  for (const Check& check : report.checks)
    checks.push_back({{"study", check.study},
                      {"run", check.run},
                      {"action", check.action},
                      {"what", check.what},
                      {"outcome", OutcomeName(check.outcome)},
                      {"detail", check.detail}});
  for (const TestRunResult& run : report.runs) {
    OrderedJson actions = OrderedJson::array();
    for (const ActionRun& action : run.actions) {
      const Json results = action.result.is_object()
                               ? action.result.value("results", Json::object())
                               : Json::object();
      const Json audit = results.value("audit", Json::object());
      actions.push_back({{"action", action.name},
                         {"state", StateName(action.state)},
                         {"job_id", action.job_id},
                         {"message", action.message},
                         {"exit_code", results.value("exit_code", Json())},
                         {"outputs", results.value("outputs", Json::object())},
                         {"withheld", results.value("level4_excluded_files", Json::object())},
                         {"duration_ms", action.duration_ms},
                         {"memory_peak_bytes", action.memory_bytes},
                         {"syscalls", audit.value("events", uint64_t{0})},
                         {"syscalls_denied", audit.value("denied", uint64_t{0})},
                         {"audit_log", audit.value("log", "")},
                         {"audit_seal", audit.value("seal", "")}});
    }
    runs.push_back({{"study", run.study},
                    {"run", run.run},
                    {"commit", run.commit},
                    {"exit_status", run.exit_status},
                    {"actions", actions}});
  }
  return {{"name", report.name},
          {"version", CARREL_VERSION},
          {"begun_s", report.begun_s},
          {"ended_s", report.ended_s},
          {"cancelled", report.cancelled},
          {"policy_digest", report.policy_digest},
          {"passed", report.Count(Check::Outcome::kPassed)},
          {"failed", report.Count(Check::Outcome::kFailed)},
          {"skipped", report.Count(Check::Outcome::kSkipped)},
          {"checks", checks},
          {"runs", runs}};
}

// The attributes are those of Jenkins' schema.
std::string SelftestJunit(const SelftestReport& report) {
  std::map<std::string, std::vector<const Check*>> suites;
  std::map<std::string, double> seconds;
  for (const Check& check : report.checks) suites[check.study].push_back(&check);
  for (const TestRunResult& run : report.runs)
    for (const ActionRun& action : run.actions)
      seconds[run.study] += static_cast<double>(action.duration_ms) / 1000;
  const std::string begun = Rfc3339(report.begun_s * 1'000'000'000).substr(0, 19);
  std::string xml = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"carrel selftest\" "
      "tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{}\">\n",
      report.checks.size(), report.Count(Check::Outcome::kFailed), report.ended_s - report.begun_s);
  for (const auto& [name, checks] : suites) {
    size_t failed = 0, skipped = 0;
    for (const Check* check : checks) {
      failed += check->outcome == Check::Outcome::kFailed;
      skipped += check->outcome == Check::Outcome::kSkipped;
    }
    xml += fmt::format(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" "
        "time=\"{:.3f}\" timestamp=\"{}\">\n",
        Xml(name), checks.size(), failed, skipped, seconds[name], begun);
    for (const Check* check : checks) {
      xml +=
          fmt::format("    <testcase classname=\"{}\" name=\"{}\"", Xml(name), Xml(NameOf(*check)));
      if (check->outcome == Check::Outcome::kPassed)
        xml += "/>\n";
      else
        xml += fmt::format(">\n      <{} message=\"{}\"/>\n    </testcase>\n",
                           check->outcome == Check::Outcome::kFailed ? "failure" : "skipped",
                           Xml(check->detail));
    }
    xml += "  </testsuite>\n";
  }
  return xml + "</testsuites>\n";
}

void PrintSelftest(const SelftestReport& report) {
  struct Row {
    size_t passed = 0, failed = 0, skipped = 0;
  };
  std::map<std::string, Row> rows;
  std::vector<std::string> order;
  for (const Check& check : report.checks) {
    if (!rows.contains(check.study)) order.push_back(check.study);
    Row& row = rows[check.study];
    ++(check.outcome == Check::Outcome::kPassed   ? row.passed
       : check.outcome == Check::Outcome::kFailed ? row.failed
                                                  : row.skipped);
  }
  printf("%-18s %7s %7s %7s\n", "study", "passed", "failed", "skipped");
  for (const std::string& name : order)
    printf("%-18s %7zu %7zu %7zu\n", name.c_str(), rows[name].passed, rows[name].failed,
           rows[name].skipped);
  for (const Check& check : report.checks)
    if (check.outcome != Check::Outcome::kPassed)
      printf("\n%s: %s, %s\n  %s\n", OutcomeName(check.outcome), check.study.c_str(),
             MakeVisible(NameOf(check)).c_str(), MakeVisible(check.detail).c_str());
  const size_t failed = report.Count(Check::Outcome::kFailed);
  printf("\n%zu checks, %zu failed, %zu skipped, in %s%s\n", report.checks.size(), failed,
         report.Count(Check::Outcome::kSkipped),
         DurationText((report.ended_s - report.begun_s) * 1000).c_str(),
         report.cancelled ? ", cancelled: the rest was not run" : "");
  printf("report: %s/report.json\n", report.directory.c_str());
}

int CompareSelftests(const std::string& state, const std::string& before, const std::string& after,
                     bool json) {
  auto old_report = ReadReport(state, before);
  if (!old_report) return PrintError(old_report.error());
  auto new_report = ReadReport(state, after);
  if (!new_report) return PrintError(new_report.error());
  std::vector<Change> changes;
  const auto of_one = StudiesOfOne(*old_report, *new_report, changes);
  auto old_checks = ChecksOf(*old_report), new_checks = ChecksOf(*new_report);
  auto old_actions = ActionsOf(*old_report), new_actions = ActionsOf(*new_report);
  for (auto* map : {&old_checks, &new_checks, &old_actions, &new_actions}) LeaveOut(of_one, *map);
  CompareMaps(old_checks, new_checks, "check", changes);
  for (const char* member : {"state", "exit_code", "message", "outputs", "withheld"}) {
    std::map<std::string, Json> a, b;
    for (const auto& [key, action] : old_actions) a[key] = action.value(member, Json());
    for (const auto& [key, action] : new_actions) b[key] = action.value(member, Json());
    CompareMaps(a, b, member, changes);
  }
  for (const auto& [key, action] : old_actions) {
    auto other = new_actions.find(key);
    if (other == new_actions.end()) continue;
    if (auto done = CompareAudit(key, action, other->second, changes); !done)
      changes.push_back({key, "audit log", "", done.error().ToString()});
  }
  OrderedJson list = OrderedJson::array();
  for (const Change& change : changes) {
    list.push_back({{"where", change.where},
                    {"what", change.what},
                    {"before", change.before},
                    {"after", change.after}});
    if (!json)
      printf("%s: %s\n  before  %s\n  after   %s\n", MakeVisible(change.where).c_str(),
             MakeVisible(change.what).c_str(), MakeVisible(change.before).c_str(),
             MakeVisible(change.after).c_str());
  }
  if (json)
    printf("%s\n", OrderedJson({{"changes", list}})
                       .dump(2, ' ', true, OrderedJson::error_handler_t::replace)
                       .c_str());
  else
    printf("%zu difference%s\n", changes.size(), changes.size() == 1 ? "" : "s");
  return changes.empty() ? 0 : 1;
}

}  // namespace carrel
