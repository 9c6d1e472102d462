// SPDX-License-Identifier: Apache-2.0
// Router: which route a method and path belong to. cpp-httplib does the matching; see router.cpp for what it is given.
#pragma once

#include <memory>
#include <string>

#include "server/routes.hpp"

namespace sandforge::server {

struct RouteMatch {
  const Route* route = nullptr;  // null: no such path, or not with this method
  std::string id;                // what the pattern's group matched, or empty
  std::string allow;             // the methods that the path has, when it has others
};

// One thread at a time.
class Router {
 public:
  Router();
  ~Router();
  // `path` is normalised (url.hpp): only unreserved characters and '/', of bounded length. HEAD finds the GET route.
  RouteMatch find(const std::string& method, const std::string& path);

 private:
  class Table;
  std::unique_ptr<Table> table_;
};

}  // namespace sandforge::server
