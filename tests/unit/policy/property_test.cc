// Properties of the decision over generated policies and jobs (fixed seeds).
#include <gtest/gtest.h>

#include <random>

#include "policy/policy_facts.h"
#include "unit/policy/sample.h"

namespace carrel {
namespace {

using testing_support::Join;
using testing_support::kNow;
using testing_support::SampleHost;

constexpr int kRounds = 300;
constexpr int kJobsPerPolicy = 40;

// Policies and jobs over a small world, so that they meet often.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }
  size_t Below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random_); }
  template <typename T>
  const T& Pick(const std::vector<T>& choices) {
    return choices[Below(choices.size())];
  }
  template <typename T>
  std::vector<T> Some(const std::vector<T>& choices, double p) {
    std::vector<T> some;
    for (const T& choice : choices)
      if (Chance(p)) some.push_back(choice);
    return some;
  }

  PolicyFiles MakePolicy() {
    std::map<std::string, Json> documents;
    documents["tools.json"]["tools"] = Tools();
    documents["projects.json"]["projects"] = Projects();
    documents["roles.json"] = Roles();
    documents["levels.json"] = {
        {"highly_sensitive",
         {{"description", "level 3"},
          {"directory", "high_privacy"},
          {"owner", "root"},
          {"group", "root"},
          {"directory_mode", "0750"},
          {"file_mode", "0640"}}},
        {"moderately_sensitive",
         {{"description", "level 4"},
          {"directory", "medium_privacy"},
          {"owner", "root"},
          {"group", "root"},
          {"directory_mode", "0750"},
          {"file_mode", "0640"},
          {"checks", {"type", "size", "rows", "patient_identifiers"}},
          {"max_csv_rows", Pick<int>({10, 5000})},
          {"max_file_bytes", Pick<int>({1000, 16777216})},
          {"file_types", Chance(0.5) ? Json{".csv"} : Json{".csv", ".txt"}}}}};
    documents["limits.json"] = {{"defaults", SomeLimits()}, {"maxima", SomeLimits()}};
    for (const PermissionFile& file : PermissionFiles()) {
      Json& document = documents[std::string("permissions/") + file.file + ".json"];
      document = {{"description", "generated"}, {"grants", Json::array()}};
      for (size_t i = 1 + Below(6); i > 0; --i) document["grants"].push_back(MakeGrant(file.items));
    }
    PolicyFiles files;
    for (const auto& [name, document] : documents) files[name] = document.dump();
    return files;
  }

  JobRequest MakeJob() {
    JobRequest job;
    job.workspace = Pick(kWorkspaces_);
    if (Chance(0.3)) job.project = Pick(kProjects_);
    job.user = Pick<std::string>({"u1", "u2", "stranger", ""});
    job.repo_url = "https://github.com/opensafely/study";
    if (Chance(0.9)) job.study_repo_url = job.repo_url;
    if (Chance(0.1)) job.study_repo_url = "https://github.com/opensafely/reusable";
    job.commit = job.study_commit = std::string(40, 'a');
    job.image = Pick(kTools_) + ":" + Pick<std::string>({"v1", "v2"});
    job.args = {Pick(kCommands_), "analysis/x"};
    if (Chance(0.3)) job.args.erase(job.args.begin());
    if (Chance(0.1)) job.args.push_back("--dsn=x");
    if (Chance(0.4)) job.env["EHRQL_PERMISSIONS"] = Json(Some(kPermissions_, 0.3)).dump();
    for (Level level : {Level::kHighlySensitive, Level::kModeratelySensitive})
      if (Chance(0.4)) job.levels.insert(level);
    job.allow_database_access = Chance(0.7);
    job.database_name = Pick<std::string>({"default", "default", "default", "other", "full"});
    if (Chance(0.5)) job.memory_bytes = Pick<uint64_t>({1ull << 30, 4ull << 30, 64ull << 30});
    if (Chance(0.3)) job.level4_max_csv_rows = Pick<int64_t>({5, 5000});
    return job;
  }

 private:
  Json SomeLimits() {
    Json limits = Json::object();
    if (Chance(0.7)) limits["memory"] = Pick<std::string>({"1G", "4G", "64G"});
    if (Chance(0.3)) limits["pids"] = Pick<int>({100, 1000});
    return limits;
  }

  Json Command(bool may_reach) {
    Json command = {
        {"levels", Some<std::string>({"highly_sensitive", "moderately_sensitive"}, 0.8)}};
    if (may_reach && Chance(0.7)) command["database"] = true;
    return command;
  }

  Json Tools() {
    Json tools = Json::object();
    for (const std::string& name : Some(kTools_, 0.9)) {
      Json tool = {{"description", "generated"},
                   {"images", {name}},
                   {"versions", Chance(0.7) ? Json{"v1", "v2"} : Json{"v1"}}};
      const bool reaches = Chance(0.8);
      const bool declares = Chance(0.3);
      if (reaches) tool["opt_outs"] = declares ? "declared" : "told";
      if (reaches && declares) tool["preflight"] = {{{"check", "sql-declaration"}}};
      if (Chance(0.8))
        for (const std::string& command : kCommands_)
          if (Chance(0.6)) tool["commands"][command] = Command(reaches);
      if (!tool.contains("commands") || Chance(0.3)) tool["any_command"] = Command(reaches);
      if (Chance(0.2))
        tool["requires_listing"] = Pick<std::string>({"sql-runner", "cohort-extractor"});
      if (Chance(0.3)) tool["refused_arguments"] = {"--dsn"};
      if (Chance(0.3)) tool["limits"] = SomeLimits();
      if (Chance(0.2)) tool["digests"] = {{"v1", "sha256:" + std::string(64, '1')}};
      if (Chance(0.3)) {
        tool["allow_loopback_sockets"] = true;
        tool["loopback_reason"] = "generated";
      }
      tools[name] = tool;
    }
    return tools;
  }

  Json Projects() {
    Json projects = Json::array();
    std::vector<std::string> free = kWorkspaces_;
    for (const std::string& id : kProjects_) {
      Json project = {
          {"id", id},
          {"name", "generated"},
          {"kind", id == "internal" ? "internal" : Pick<std::string>({"research", "audit"})},
          {"workspaces", Json::array()}};
      while (!free.empty() && Chance(0.6)) {
        project["workspaces"].push_back(free.back());
        free.pop_back();
      }
      if (Chance(0.2)) {
        project["accepts_unlisted_workspaces"] = true;
        project["unlisted_workspaces_reason"] = "generated";
      }
      projects.push_back(project);
    }
    return projects;
  }

  Json Roles() {
    const std::vector<std::string> kinds = {"research", "audit", "internal"};
    Json roles = {{"roles", Json::object()}, {"users", Json::object()}};
    for (const char* name : {"r1", "r2", "r3"})
      roles["roles"][name] = {
          {"description", "generated"}, {"starts", Some(kinds, 0.7)}, {"reads", Json::array()}};
    for (const char* user : {"u1", "u2"})
      roles["users"][user] = Some<std::string>({"r1", "r2", "r3"}, 0.5);
    if (Chance(0.8)) roles["unlisted_users_are"] = "r1";
    return roles;
  }

  Json MakeGrant(const std::string& items) {
    Json grant = {{"project", Pick(kProjects_)},
                  {"reason", "generated"},
                  {"approver", "a role"},
                  {"date", Pick<std::string>({"2020-01-01", "2026-01-01", "2026-09-21"})},
                  {"link", "https://example.org"}};
    if (Chance(0.1)) grant["date"] = "2027-01-01";
    if (Chance(0.4))
      grant["expires"] = Pick<std::string>({"2027-06-30", "2027-01-01", "2028-01-01"});
    if (Chance(0.2)) grant.update({{"date", "2020-01-01"}, {"expires", "2026-09-20"}});
    if (items == "databases") grant[items] = {Pick<std::string>({"default", "default", "other"})};
    if (items == "datasets") grant[items] = {Pick<std::string>({"icnarc", "ukrr"})};
    return grant;
  }

  const std::vector<std::string> kProjects_ = {"internal", "p1", "p2"};
  const std::vector<std::string> kWorkspaces_ = {"w1", "w2", "w3", "w4"};
  const std::vector<std::string> kTools_ = {"ehrql", "sqlrunner", "python"};
  const std::vector<std::string> kCommands_ = {"generate-dataset", "assure"};
  const std::vector<std::string> kPermissions_ = {"include_t1oo", "include_ndoo", "icnarc",
                                                  "event_level_data"};
  std::mt19937 random_;
};

// What the second may and the first may not; "" when it is not wider in anything.
std::string Wider(const Decision& first, const Decision& second) {
  if (!second.allowed) return "";
  if (!first.allowed) return "allowed";
  if (second.database && !first.database) return "database";
  for (const std::string& name : second.ehrql_permissions)
    if (std::find(first.ehrql_permissions.begin(), first.ehrql_permissions.end(), name) ==
        first.ehrql_permissions.end())
      return "permission " + name;
  if (second.include_type_one_opt_outs && !first.include_type_one_opt_outs) return "opt-outs";
  for (Level level : second.levels)
    if (!first.levels.contains(level)) return "level";
  for (const LimitMember& member : LimitMembers())
    if (second.limits.*member.member > first.limits.*member.member) return member.name;
  if (second.level4.max_csv_rows > first.level4.max_csv_rows ||
      second.level4.max_file_bytes > first.level4.max_file_bytes)
    return "level 4";
  for (const char* wider : {"loopback", "gateway"})
    if (second.seccomp_profile == wider && first.seccomp_profile != "loopback" &&
        first.seccomp_profile != wider)
      return "seccomp profile";
  if (second.preflight.size() < first.preflight.size()) return "preflight";
  if (second.image_digest.empty() && !first.image_digest.empty()) return "digest";
  return "";
}

HostConfig Host() {
  HostConfig host = SampleHost();
  host.databases["other"] = host.databases["default"];
  return host;
}

// In force at kNow, read from the file's text: not with the code under test.
bool Listed(const PolicyFiles& files, const std::string& file, const std::string& project,
            const std::string& items = "", const std::string& item = "") {
  const Json document = Json::parse(files.at("permissions/" + file + ".json"));
  for (const Json& grant : document["grants"]) {
    if (grant["project"] != project || grant["date"] > "2026-09-21") continue;
    if (grant.contains("expires") && grant["expires"] < "2026-09-21") continue;
    if (items.empty() || grant[items][0] == item) return true;
  }
  return false;
}

Policy Decoded(const PolicyFiles& files) {
  auto policy = DecodePolicy(files);
  EXPECT_TRUE(policy.has_value()) << policy.error().ToString();
  return policy.value_or(Policy{});
}

TEST(PolicyProperties, GrantsAreTheOnlyWayToADatabaseAndToOptedOutPatients) {
  Generator generator(20260921);
  const HostConfig host = Host();
  int databases = 0;
  int opt_outs = 0;
  for (int round = 0; round < kRounds; ++round) {
    const PolicyFiles files = generator.MakePolicy();
    const Policy policy = Decoded(files);
    for (int i = 0; i < kJobsPerPolicy; ++i) {
      const JobRequest job = generator.MakeJob();
      const Decision decision = Decide(job, policy, host, kNow);
      if (decision.database) {
        ++databases;
        EXPECT_TRUE(job.allow_database_access);
        EXPECT_EQ(job.repo_url, job.study_repo_url.empty() ? job.repo_url : job.study_repo_url);
        EXPECT_EQ(decision.database->name, job.database_name);
        EXPECT_TRUE(Listed(files, "databases", decision.project, "databases", job.database_name));
      }
      if (decision.include_type_one_opt_outs) {
        ++opt_outs;
        EXPECT_TRUE(Listed(files, "type-one-opt-outs", decision.project));
      }
      for (const std::string& name : decision.ehrql_permissions)
        if (name == "event_level_data") {
          EXPECT_TRUE(Listed(files, "event-level-data", decision.project));
        } else if (name == "icnarc" || name == "ukrr") {
          EXPECT_TRUE(Listed(files, "datasets", decision.project, "datasets", name));
        }
    }
  }
  // The generator must really reach these parts.
  EXPECT_GT(databases, 100);
  EXPECT_GT(opt_outs, 10);
}

// Whoever is allowed something is among those whom who-can names, with the same entry or another.
TEST(PolicyProperties, WhoCanLeavesNobodyOut) {
  Generator generator(20261130);
  const HostConfig host = Host();
  size_t asked = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Policy policy = Decoded(generator.MakePolicy());
    auto names = [&](const std::string& question, const std::string& who) {
      ++asked;
      auto lines = WhoCan(policy, question, kNow);
      return lines && std::any_of(lines->begin(), lines->end(), [&](const std::string& line) {
               return line.starts_with(who) || line.starts_with("all projects");
             });
    };
    for (int i = 0; i < kJobsPerPolicy; ++i) {
      const Decision decision = Decide(generator.MakeJob(), policy, host, kNow);
      if (!decision.allowed) continue;
      EXPECT_TRUE(names("start " + decision.project_kind, decision.role + ": "));
      EXPECT_TRUE(names("use " + decision.tool, decision.project + ": "));
      if (!decision.database) continue;
      const std::string with =
          decision.tool + (decision.command.empty() ? "" : " " + decision.command);
      auto lines = WhoCan(policy, "reach database " + decision.database->name, kNow);
      ASSERT_TRUE(lines.has_value());
      EXPECT_TRUE(std::any_of(lines->begin(), lines->end(),
                              [&](const std::string& line) {
                                return line.starts_with(decision.project + ": ") &&
                                       line.find(with) != std::string::npos;
                              }))
          << with << "\n"
          << Join(*lines);
      if (decision.opt_outs == "included" || decision.opt_outs == "declared by the query") {
        EXPECT_TRUE(names("include type-one opt-outs", decision.project + ": "));
      }
      for (const std::string& name : decision.ehrql_permissions)
        if (!IsOtherPermission(name)) {
          EXPECT_TRUE(names("use dataset " + name, decision.project + ": "));
        }
    }
  }
  EXPECT_GT(asked, 500u);
}

TEST(PolicyProperties, RemovingAGrantNeverWidens) {
  Generator generator(4);
  const HostConfig host = Host();
  int narrowed = 0;
  for (int round = 0; round < kRounds; ++round) {
    const PolicyFiles files = generator.MakePolicy();
    const Policy before = Decoded(files);
    std::vector<PolicyFiles> smaller;
    for (const PermissionFile& file : PermissionFiles()) {
      const std::string name = std::string("permissions/") + file.file + ".json";
      const Json document = Json::parse(files.at(name));
      for (size_t i = 0; i < document["grants"].size(); ++i) {
        Json changed = document;
        changed["grants"].erase(i);
        smaller.push_back(files);
        smaller.back()[name] = changed.dump();
      }
    }
    for (const PolicyFiles& less : smaller) {
      const Policy after = Decoded(less);
      for (int i = 0; i < 4; ++i) {
        const JobRequest job = generator.MakeJob();
        const Decision first = Decide(job, before, host, kNow);
        const Decision second = Decide(job, after, host, kNow);
        EXPECT_EQ(Wider(first, second), "");
        if (!Wider(second, first).empty()) ++narrowed;
      }
      for (const PolicyChange& change : DiffPolicies(before, after, kNow))
        EXPECT_FALSE(change.widens) << change.sentence;
    }
  }
  EXPECT_GT(narrowed, 20);
}

TEST(PolicyProperties, ExpiredMeansAbsent) {
  Generator generator(5);
  const HostConfig host = Host();
  for (int round = 0; round < kRounds; ++round) {
    PolicyFiles expired = generator.MakePolicy();
    PolicyFiles absent = expired;
    for (const PermissionFile& file : PermissionFiles()) {
      const std::string name = std::string("permissions/") + file.file + ".json";
      Json document = Json::parse(expired.at(name));
      for (Json& grant : document["grants"])
        grant.update({{"date", "2020-01-01"}, {"expires", "2026-09-20"}});
      expired[name] = document.dump();
      document["grants"] = Json::array();
      absent[name] = document.dump();
    }
    const Policy with_expired = Decoded(expired);
    const Policy without = Decoded(absent);
    for (int i = 0; i < kJobsPerPolicy; ++i) {
      const JobRequest job = generator.MakeJob();
      OrderedJson first = ToJson(Decide(job, with_expired, host, kNow));
      OrderedJson second = ToJson(Decide(job, without, host, kNow));
      first.erase("policy_digest");
      second.erase("policy_digest");
      EXPECT_EQ(first, second);
    }
  }
}

// One value removed, or replaced by the value at the same place of another policy.
PolicyFiles Mutate(Generator& generator, const PolicyFiles& files) {
  const PolicyFiles other = generator.MakePolicy();
  auto chosen = std::next(files.begin(), static_cast<ptrdiff_t>(generator.Below(files.size())));
  Json document = Json::parse(chosen->second);
  const Json flat = document.flatten();
  std::vector<std::string> pointers;
  for (const auto& [pointer, value] : flat.items())
    for (size_t slash = pointer.find('/', 1);; slash = pointer.find('/', slash + 1)) {
      pointers.push_back(pointer.substr(0, slash));
      if (slash == std::string::npos) break;
    }
  if (pointers.empty() || pointers[0].empty()) return files;
  const std::string pointer = generator.Pick(pointers);
  const Json::json_pointer place(pointer);
  const Json theirs = Json::parse(other.at(chosen->first));
  if (theirs.contains(place) && generator.Chance(0.5))
    document[place] = theirs[place];
  else
    document = document.patch({{{"op", "remove"}, {"path", pointer}}});
  PolicyFiles mutated = files;
  mutated[chosen->first] = document.dump();
  return mutated;
}

TEST(PolicyProperties, WhatWidensADecisionShowsInTheDiff) {
  Generator generator(6);
  const HostConfig host = Host();
  int widened = 0;
  int silent = 0;
  for (int round = 0; round < 10 * kRounds; ++round) {
    const PolicyFiles files = generator.MakePolicy();
    const Policy before = Decoded(files);
    const auto mutated = DecodePolicy(Mutate(generator, files));
    if (!mutated) continue;
    const auto changes = DiffPolicies(before, *mutated, kNow);
    const bool reported = !changes.empty() && changes.front().widens;
    if (!reported) ++silent;
    for (int i = 0; i < kJobsPerPolicy; ++i) {
      const JobRequest job = generator.MakeJob();
      const std::string wider =
          Wider(Decide(job, before, host, kNow), Decide(job, *mutated, host, kNow));
      if (wider.empty()) continue;
      ++widened;
      EXPECT_TRUE(reported) << "unreported: " << wider;
    }
  }
  EXPECT_GT(widened, 100);
  EXPECT_GT(silent, 100);
}

}  // namespace
}  // namespace carrel
