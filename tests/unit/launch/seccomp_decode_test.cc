// Profiles that cannot be meant as they stand are refused: nothing is skipped with a warning.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "launch/seccomp.h"
#include "support/temp_dir.h"

namespace carrel {
namespace {

using ::testing::HasSubstr;

std::string Document(const std::string& rules) {
  return R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
             "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [)" +
         rules + "]}";
}

TEST(SeccompDecode, AGoodOne) {
  auto filter = CompileSeccomp({Document(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW"})")});
  ASSERT_TRUE(filter.has_value()) << filter.error().ToString();
  EXPECT_GT(filter->instructions.size(), 3u);
  EXPECT_EQ(filter->profile_digest.size(), 64u);
}

struct Bad {
  const char* name;
  std::string document;
  const char* where;
};

class SeccompBad : public ::testing::TestWithParam<Bad> {};

TEST_P(SeccompBad, IsRefusedWithItsPlace) {
  auto filter = CompileSeccomp({GetParam().document});
  ASSERT_FALSE(filter.has_value());
  EXPECT_EQ(filter.error().kind, ErrorKind::kBadInput) << filter.error().ToString();
  EXPECT_THAT(filter.error().ToString(), HasSubstr(GetParam().where));
}

const char kAllowRead[] = R"({"names": ["read"], "action": "SCMP_ACT_ALLOW"})";

INSTANTIATE_TEST_SUITE_P(
    All, SeccompBad,
    ::testing::Values(
        Bad{"NotJson", "{", "seccomp profile"},
        Bad{"UnknownCall", Document(R"({"names": ["raed"], "action": "SCMP_ACT_ALLOW"})"), "raed"},
        Bad{"UnknownAction", Document(R"({"names": ["read"], "action": "SCMP_ACT_LOG"})"),
            "/syscalls/0/action"},
        Bad{"UnknownKey",
            Document(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}})"),
            "includes"},
        Bad{"UnknownOperator", Document(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW",
                         "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_XX"}]})"),
            "/syscalls/0/args/0/op"},
        Bad{"SeventhArgument", Document(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW",
                         "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]})"),
            "/syscalls/0/args/0/index"},
        Bad{"NumberAsString", Document(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW",
                         "args": [{"index": 0, "value": "1", "op": "SCMP_CMP_EQ"}]})"),
            "/syscalls/0/args/0/value"},
        Bad{"SecondRule", Document(std::string(kAllowRead) + R"(, {"names": ["read"]})"),
            "/syscalls/1"},
        Bad{"NoRules",
            R"({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"]})",
            "/syscalls"},
        Bad{"NoDefault", R"({"architectures": ["SCMP_ARCH_X86_64"], "syscalls": []})",
            "/defaultAction"},
        Bad{"ForeignAbi",
            R"({"defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": []})",
            "/architectures"},
        Bad{"TwiceAKey",
            R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"], "syscalls": []})",
            "defaultAction"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(SeccompProfiles, UnknownNameIsRefused) {
  EXPECT_EQ(BuiltinProfile("docker").error().kind, ErrorKind::kBadInput);
}

// The cache under the state directory: used when whole, made anew when damaged or another's.
TEST(SeccompCache, DamagedFileIsNotBelieved) {
  testing_support::TempDir state;
  auto first = LoadSeccomp(state.path(), "base");
  ASSERT_TRUE(first.has_value()) << first.error().ToString();
  std::string file;
  for (const auto& entry : std::filesystem::directory_iterator(state / "seccomp"))
    file = entry.path();
  ASSERT_NE(file, "");
  const auto same = [&] {
    auto again = LoadSeccomp(state.path(), "base");
    return again && again->instructions.size() == first->instructions.size() &&
           std::equal(first->instructions.begin(), first->instructions.end(),
                      again->instructions.begin(), [](const auto& a, const auto& b) {
                        return a.code == b.code && a.jt == b.jt && a.jf == b.jf && a.k == b.k;
                      });
  };
  EXPECT_TRUE(same());
  std::fstream damage(file, std::ios::in | std::ios::out | std::ios::binary);
  damage.seekp(-8, std::ios::end);
  damage.write("\x06\x00\x00\x00\x00\x00\xff\x7f", 8);  // return ALLOW
  damage.close();
  EXPECT_TRUE(same());
  std::filesystem::resize_file(file, 100);
  EXPECT_TRUE(same());
  ASSERT_EQ(::chmod(file.c_str(), 0666), 0);
  EXPECT_TRUE(same());
}

}  // namespace
}  // namespace carrel
