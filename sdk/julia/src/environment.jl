# The environment the model was made in: the active project, and the exact versions in its manifest.

const MANIFESTS = ["JuliaManifest.toml", "Manifest-v$(VERSION.major).$(VERSION.minor).toml", "Manifest.toml"]

"""
    captured_environment() -> (files, packages)

`environment/Project.toml` and `environment/Manifest.toml` of the active project, as path in the bundle to file, where
there are such files; and package to version out of the manifest.
"""
function captured_environment()
    files, packages = Dict{String,String}(), Dict{String,String}()
    project = Base.active_project()
    # (This package's own folder, where it stands first on LOAD_PATH, counts as active and says nothing of the model.)
    is_own = project !== nothing && dirname(project) == dirname(@__DIR__)
    (project === nothing || is_own || !isfile(project)) && return files, packages
    files["environment/Project.toml"] = project
    for name in MANIFESTS
        manifest = joinpath(dirname(project), name)
        isfile(manifest) || continue
        files["environment/Manifest.toml"] = manifest
        text = read(manifest, String)
        packages = manifest_versions(text)
        foreach(path -> carry_package!(files, dirname(manifest), path), manifest_paths(text))
        break
    end
    return files, packages
end

"Adds a package that lies below the project, so that its place beside the manifest is the same in the bundle."
function carry_package!(files, root, path)
    parts = split(normpath(path), '/')
    (isabspath(path) || first(parts) == ".." || !isdir(joinpath(root, path))) && return
    for name in files_under(joinpath(root, path))
        files[join(["environment", parts..., replace(name, '\\' => '/')], '/')] = joinpath(root, path, name)
    end
end
