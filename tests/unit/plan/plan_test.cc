// BuildPlan: what it refuses, and the plan as golden files (tests/golden). To write them anew after
// a change that was meant, and look at the difference:
//
//   CARREL_UPDATE_GOLDEN=1 ctest --preset release -R PlanGolden; git diff tests/golden
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>

#include "plan/launch_plan.h"

namespace carrel {
namespace {

using ::testing::HasSubstr;

HostFacts HybridHost() {
  HostFacts facts;
  facts.hierarchies = {{"/sys/fs/cgroup/memory", {"memory"}, false},
                       {"/sys/fs/cgroup/pids", {"pids"}, false},
                       {"/sys/fs/cgroup/unified", {}, true}};
  facts.proc_files = {"cpuinfo", "kallsyms", "meminfo", "stat", "uptime", "version"};
  facts.proc_dirs = {"acpi", "bus", "irq", "net", "sys"};
  facts.landlock_abi = 7;
  facts.online_cpus = 8;
  facts.time_namespaces = true;
  facts.open_files_max = 20000;
  return facts;
}

HostFacts UnifiedHost() {
  HostFacts facts = HybridHost();
  facts.hierarchies = {{"/sys/fs/cgroup", {"cpu", "io", "memory", "pids"}, true}};
  facts.landlock_abi = 0;
  facts.time_namespaces = false;
  facts.online_cpus = 2;
  facts.open_files_max = 1024;
  return facts;
}

LaunchRequest Request() {
  LaunchRequest request;
  request.id = "job-1";
  request.argv = {"/bin/true"};
  request.environment = {{"PATH", "/bin"}, {"SECRET", "hunter2"}};
  request.rootfs = "/var/lib/carrel/images/rootfs/base";
  request.host_uid = request.host_gid = 1879048200;
  return request;
}

LaunchRequest JobRequest() {
  LaunchRequest request = Request();
  request.argv = {"python3", "analysis.py"};
  request.working_directory = "/workspace";
  request.skeleton = "/var/lib/carrel/run/job-1/skeleton";
  request.binds = {{"/var/lib/carrel/run/job-1/workspace", "/workspace"},
                   {"/srv/data/patients.sqlite", "/database/patients.sqlite"}};
  request.writable = {{"/workspace/output", "/scratch/upper/output", "", ""}};
  request.limits.cpu_milli = 1500;
  request.limits.memory_bytes = 512u << 20;
  request.limits.processes = 200;
  return request;
}

LaunchRequest CopyUpRequest() {
  LaunchRequest request = JobRequest();
  request.writable = {{"/workspace", "/scratch/upper", "/run/workspace", "/scratch/work"}};
  request.seccomp_profile = "loopback";
  return request;
}

Result<LaunchPlan> Plan(const LaunchRequest& request, const HostFacts& facts = HybridHost()) {
  return BuildPlan(request, facts, HostTemplates{"/var/lib/carrel/host"});
}

struct Golden {
  std::string name;
  LaunchRequest request;
  HostFacts facts;
};

class PlanGolden : public ::testing::TestWithParam<Golden> {};

TEST_P(PlanGolden, IsAsItWas) {
  auto plan = Plan(GetParam().request, GetParam().facts);
  ASSERT_TRUE(plan.has_value()) << plan.error().ToString();
  const std::string text = plan->ToJson().dump(2) + "\n";
  const std::string path = std::string(CARREL_TEST_DIR) + "/golden/" + GetParam().name + ".json";
  if (::getenv("CARREL_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream in(path);
  std::ostringstream golden;
  golden << in.rdbuf();
  EXPECT_EQ(text, golden.str());
}

INSTANTIATE_TEST_SUITE_P(All, PlanGolden,
                         ::testing::Values(Golden{"plan_exec_hybrid", Request(), HybridHost()},
                                           Golden{"plan_exec_unified", Request(), UnifiedHost()},
                                           Golden{"plan_job", JobRequest(), HybridHost()},
                                           Golden{"plan_job_copy_up", CopyUpRequest(),
                                                  UnifiedHost()}),
                         [](const auto& tested) { return tested.param.name; });

TEST(Plan, ValuesOfTheEnvironmentAreNotInIt) {
  const std::string text = Plan(Request())->ToJson().dump();
  EXPECT_THAT(text, HasSubstr("SECRET"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("hunter2")));
}

// Landlock repeats what the network and the filter leave: nothing, the gateway, the loopback.
TEST(Plan, TcpIsLeftToThoseWhoMayHaveIt) {
  LaunchRequest request = Request();
  EXPECT_EQ(Plan(request)->landlock_tcp_port, 0);
  request.seccomp_profile = "gateway";
  request.database_port = 5432;
  EXPECT_EQ(Plan(request)->landlock_tcp_port, 5432);
  request.seccomp_profile = "loopback";
  EXPECT_EQ(Plan(request)->landlock_tcp_port, std::nullopt);
}

size_t IndexOf(const LaunchPlan& plan, Operation::Kind kind) {
  const auto found =
      std::find_if(plan.operations.begin(), plan.operations.end(),
                   [&](const Operation& operation) { return operation.kind == kind; });
  EXPECT_NE(found, plan.operations.end()) << KindName(kind);
  return static_cast<size_t>(found - plan.operations.begin());
}

// The order is the security: mounts before the pivot, power given up before the filter, nothing
// after it but the exec.
TEST(Plan, OrderOfWhatMatters) {
  using Kind = Operation::Kind;
  const LaunchPlan plan = *Plan(JobRequest());
  const Kind order[] = {Kind::kJoinCgroup,
                        Kind::kPrivateMounts,
                        Kind::kRoot,
                        Kind::kProc,
                        Kind::kPivot,
                        Kind::kUserNamespace,
                        Kind::kNoMoreUserNamespaces,
                        Kind::kIds,
                        Kind::kDropCapabilities,
                        Kind::kNoNewPrivileges,
                        Kind::kLandlock,
                        Kind::kStreams,
                        Kind::kSeccomp,
                        Kind::kExecInit};
  for (size_t i = 1; i < std::size(order); ++i)
    EXPECT_LT(IndexOf(plan, order[i - 1]), IndexOf(plan, order[i])) << KindName(order[i]);
  EXPECT_EQ(plan.operations.back().kind, Kind::kExecInit);
  EXPECT_EQ(plan.operations[plan.operations.size() - 2].kind, Kind::kSeccomp);
}

TEST(Plan, UnknownFilesOfProcAreCovered) {
  HostFacts facts = HybridHost();
  facts.proc_files.push_back("news-of-next-kernel");
  facts.proc_dirs.push_back("directory-of-next-kernel");
  const std::string text = Plan(Request(), facts)->ToJson().dump();
  EXPECT_THAT(text, HasSubstr("/proc/news-of-next-kernel"));
  EXPECT_THAT(text, HasSubstr("/proc/directory-of-next-kernel"));
  EXPECT_THAT(text, HasSubstr("/proc/kallsyms"));
}

TEST(Plan, OpenFilesAreNoMoreThanTheHostGives) {
  LaunchRequest request = Request();
  request.limits.open_files = 1u << 30;
  EXPECT_THAT(Plan(request)->ToJson().dump(), HasSubstr(R"("resource":"nofile","limit":20000)"));
}

using Change = std::function<void(LaunchRequest&)>;
void ExpectRefused(const Change& change, const std::string& told,
                   ErrorKind kind = ErrorKind::kBadInput) {
  LaunchRequest request = Request();
  change(request);
  auto plan = Plan(request);
  ASSERT_FALSE(plan.has_value()) << told;
  EXPECT_EQ(plan.error().kind, kind) << plan.error().ToString();
  EXPECT_THAT(plan.error().ToString(), HasSubstr(told));
}

TEST(PlanRefusals, Commands) {
  ExpectRefused([](auto& r) { r.argv = {}; }, "/args");
  ExpectRefused([](auto& r) { r.argv = {""}; }, "/args");
  ExpectRefused([](auto& r) { r.argv = {"a", std::string("b\0c", 3)}; }, "NUL");
}

TEST(PlanRefusals, Environment) {
  ExpectRefused([](auto& r) { r.environment[""] = "x"; }, "/env");
  ExpectRefused([](auto& r) { r.environment["A=B"] = "x"; }, "/env");
  ExpectRefused([](auto& r) { r.environment["A"] = std::string("x\0y", 3); }, "/env");
  ExpectRefused([](auto& r) { r.environment[std::string("A\0B", 3)] = "x"; }, "/env");
}

TEST(PlanRefusals, WorkingDirectories) {
  for (const char* path : {"", "x", "./x", "/x/..", "/x/../y", "//x", "/x/", "/./x"})
    ExpectRefused([&](auto& r) { r.working_directory = path; }, "working directory");
}

TEST(PlanRefusals, MountPoints) {
  for (const char* path : {"/", "/proc", "/dev", "/sys", "/tmp", "/dev/shm", "/proc/self", "/dev/x",
                           "/sys/fs", "x", "", "/a/../b", "/a//b", "/a/"}) {
    ExpectRefused([&](auto& r) { r.binds = {{"/source", path}}; }, path);
    ExpectRefused([&](auto& r) { r.writable_tmpfs = {path}; }, path);
    ExpectRefused([&](auto& r) { r.writable = {{path, "/upper", "", ""}}; }, path);
  }
  ExpectRefused([](auto& r) { r.binds = {{"/a", "/x"}, {"/b", "/x"}}; }, "/x");
  ExpectRefused(
      [](auto& r) {
        r.binds = {{"/a", "/x"}};
        r.writable_tmpfs = {"/x"};
      },
      "/x");
}

TEST(PlanRefusals, RootOfTheHost) {
  ExpectRefused([](auto& r) { r.host_uid = 0; }, "root", ErrorKind::kFault);
  ExpectRefused([](auto& r) { r.host_gid = 0; }, "root", ErrorKind::kFault);
}

TEST(VisibleCpus, RoundsUpWithinTheHost) {
  const auto cpus = [](uint32_t milli, int online) {
    LaunchLimits limits;
    limits.cpu_milli = milli;
    return VisibleCpus(limits, online);
  };
  EXPECT_EQ(cpus(1, 8), 1);
  EXPECT_EQ(cpus(1000, 8), 1);
  EXPECT_EQ(cpus(1001, 8), 2);
  EXPECT_EQ(cpus(2500, 8), 3);
  EXPECT_EQ(cpus(64000, 8), 8);
  EXPECT_EQ(cpus(0, 8), 1);
  EXPECT_EQ(cpus(2000, 0), 1);
}

TEST(AbsoluteNormalPath, Examples) {
  for (const char* path : {"/", "/a", "/a/b.c", "/a b"}) EXPECT_TRUE(IsAbsoluteNormalPath(path));
  for (const char* path : {"", "a", "//", "/a/", "/a//b", "/.", "/..", "/a/../b", "/a\n"})
    EXPECT_FALSE(IsAbsoluteNormalPath(path)) << path;
}

}  // namespace
}  // namespace carrel
