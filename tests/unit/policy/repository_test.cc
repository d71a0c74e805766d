#include "policy/repository.h"

#include <gtest/gtest.h>

namespace carrel {
namespace {

const std::vector<std::string> kAllowed = {"https://github.com/opensafely", "/srv/repos/study"};

TEST(Repository, AllowedOnComponentBoundariesOnly) {
  EXPECT_TRUE(IsRepositoryAllowed("https://github.com/opensafely/x", kAllowed));
  EXPECT_TRUE(IsRepositoryAllowed("https://github.com/opensafely", kAllowed));
  EXPECT_TRUE(IsRepositoryAllowed("/srv/repos/study", kAllowed));
  EXPECT_FALSE(IsRepositoryAllowed("https://github.com/opensafely-evil/x", kAllowed));
  EXPECT_FALSE(IsRepositoryAllowed("https://github.com/other/x", kAllowed));
  EXPECT_FALSE(IsRepositoryAllowed("/srv/repos/study2", kAllowed));
  EXPECT_FALSE(IsRepositoryAllowed("/srv/repos", kAllowed));
  EXPECT_FALSE(IsRepositoryAllowed("/srv/repos/study", {}));
}

TEST(Repository, RefusalNamesTheRepository) {
  auto refused = RequireAllowedRepository("https://github.com/opensafely-evil/x", kAllowed);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::kRefused);
  EXPECT_NE(refused.error().ToString().find("opensafely-evil"), std::string::npos);
  EXPECT_EQ(RequireAllowedRepository("file:///srv/repos/study/", kAllowed).value(),
            "/srv/repos/study");
}

TEST(Repository, OtherFormsAreNoRepository) {
  for (const char* url : {"",
                          "/",
                          "-x",
                          "--upload-pack=id",
                          "ext::sh -c id",
                          "git@github.com:opensafely/x",
                          "ssh://github.com/opensafely/x",
                          "http://github.com/opensafely/x",
                          "git://h/x",
                          "https://user:pw@github.com/opensafely/x",
                          "https://github.com/opensafely/../evil/x",
                          "https://github.com/opensafely/%2e%2e/evil",
                          "https://github.com/opensafely//x",
                          "https://github.com/opensafely/x?y",
                          "https://github.com/opensafely/x#y",
                          "https://GITHUB.com/opensafely/x",
                          "relative/path",
                          "/srv/repos/../../etc",
                          "https://github.com/opensafely\\x",
                          "https:///x",
                          "https://-h/x",
                          "https://github.com/\xd0\xbepensafely/x",
                          "/srv/a b",
                          "file://host/x"})
    EXPECT_FALSE(NormalRepository(url).has_value()) << url;
}

}  // namespace
}  // namespace carrel
