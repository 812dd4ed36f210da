# environment/renv.lock: the packages a model needs, with exact versions, and the session it was made in.

# Package versions by name; R's own packages have R's version and are left out.
package_versions <- function(packages) {
  versions <- lapply(packages, function(package) {
    about <- suppressWarnings(utils::packageDescription(package))
    if (!is.list(about)) {
      yard_stop(paste0("The package ", package, " is not installed."), "Take it out of `packages`, or install it.")
    }
    if (!identical(about$Priority, "base")) about$Version
  })
  names(versions) <- packages
  Filter(Negate(is.null), versions)
}

# The packages that `packages` need, themselves included, as far as they are installed.
with_dependencies <- function(packages) {
  open <- packages
  found <- character()
  while (length(open)) {
    found <- c(found, open)
    open <- setdiff(unlist(lapply(open, direct_dependencies)), c(found, "R", DEFAULT_PACKAGES))
  }
  sort(found, method = "radix")
}

direct_dependencies <- function(package) {
  about <- suppressWarnings(utils::packageDescription(package, fields = c("Depends", "Imports", "LinkingTo")))
  if (!is.list(about)) return(character())
  text <- unlist(strsplit(as.character(unlist(about[!is.na(about)])), ",", fixed = TRUE))
  names <- trimws(sub("\\(.*", "", gsub("\n", " ", text, fixed = TRUE)))
  names[nzchar(names)]
}

# The lock as renv reads it; what renv does not know stands under Modelyard.
lock_text <- function(packages) {
  all <- with_dependencies(packages)
  versions <- package_versions(Filter(function(x) nzchar(system.file(package = x)), all))
  entries <- Map(function(name, version) {
    list(Package = name, Version = version, Source = "Repository", Requirements = I(direct_dependencies(name)))
  }, names(versions), versions)
  lock <- list(
    R = list(Version = as.character(getRversion()), Repositories = list()),
    Packages = entries,
    Modelyard = list(
      Platform = R.version$platform,
      BLAS = basename(utils::sessionInfo()$BLAS),
      LAPACK = La_version(),
      Locale = Sys.getlocale("LC_CTYPE"),
      RNGkind = RNGkind()
    )
  )
  jsonlite::toJSON(lock, auto_unbox = TRUE, pretty = TRUE, null = "null")
}

# Copies the packages that a job has of its own (YARD_R_LIBRARY, not in the server's R) into the bundle, so that its workers have them, too.
carry_library <- function(packages, to, own = Sys.getenv("YARD_R_LIBRARY")) {
  if (!nzchar(own)) return(invisible())
  for (package in intersect(with_dependencies(packages), list.files(own))) {
    if (normalizePath(find.package(package)) != normalizePath(file.path(own, package))) next
    dir.create(to, recursive = TRUE, showWarnings = FALSE)
    file.copy(file.path(own, package), to, recursive = TRUE)
    unlink(file.path(to, package, c("help", "html", "doc", "demo", "tests")), recursive = TRUE)
  }
}
