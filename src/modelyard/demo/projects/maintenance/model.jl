# The models of taxi times: minutes an aircraft rolls on the ground with its engines running.
#
# This file goes into the bundle with the model: a struct must be defined before a value of it can be read back.

using LinearAlgebra
using Statistics

# ---- version 1: ridge regression on a few columns ----

"Weights for an intercept, one column for each origin, and the scheduled hour and its square."
struct Ridge
    origins::Vector{String}
    weights::Vector{Float64}
end

function design(origins, columns)
    hour = columns.hour ./ 24
    one_hot = [Float64(origin == known) for origin in columns.origin, known in origins]
    return hcat(ones(length(hour)), one_hot, hour, hour .^ 2)
end

function fit_ridge(columns, minutes; penalty = 1.0)
    origins = sort(unique(columns.origin))
    X = design(origins, columns)
    return Ridge(origins, (X'X + penalty * I) \ (X'minutes))
end

predict(model::Ridge, columns) = design(model.origins, columns) * model.weights

# ---- version 2: boosted trees ----

"""
A tree that asks the same question of all rows at one depth: `feature[d] > bin[d]`. The answers, read as the
digits of a binary number, say which leaf a row falls into.
"""
struct Tree
    feature::Vector{Int}
    bin::Vector{Int}
    leaves::Vector{Float64}
end

"""
Gradient boosting on binned columns. `means` turns each string column into the mean of the target for each of its
values; `edges` are the bins' upper limits. A missing value has a bin of its own, 0.
"""
struct Boosted
    names::Vector{Symbol}
    means::Dict{Symbol,Dict{String,Float64}}
    edges::Vector{Vector{Float64}}
    base::Float64
    trees::Vector{Tree}
end

const BINS = 48

numeric(values, ::Nothing) = values
numeric(values, means::Dict) = [get(means, value, missing) for value in values]

to_bin(value, edges) = ismissing(value) || isnan(value) ? 0 : searchsortedfirst(edges, value)

function binned(names, means, edges, columns)
    bins = Matrix{Int}(undef, length(columns[first(names)]), length(names))
    for (j, name) in enumerate(names)
        bins[:, j] .= to_bin.(numeric(columns[name], get(means, name, nothing)), Ref(edges[j]))
    end
    return bins
end

function edges_of(values)
    known = Float64[value for value in values if !ismissing(value)]
    return unique(quantile(known, range(0, 1; length = BINS + 1)[2:end-1]))
end

function means_of(values, target)
    sums, counts = Dict{String,Float64}(), Dict{String,Int}()
    for (value, y) in zip(values, target)
        sums[value] = get(sums, value, 0.0) + y
        counts[value] = get(counts, value, 0) + 1
    end
    return Dict(value => sums[value] / counts[value] for value in keys(sums))
end

"""
    fit_boosted(columns, minutes; trees, depth, rate) -> Boosted

`trees` trees of `depth` questions each, every one fitted to what the ones before left over, times `rate`.
"""
function fit_boosted(columns, minutes; trees = 120, depth = 4, rate = 0.15)
    names = collect(keys(columns))
    strings = [name for name in names if eltype(columns[name]) <: AbstractString]
    means = Dict(name => means_of(columns[name], minutes) for name in strings)
    edges = [edges_of(numeric(columns[name], get(means, name, nothing))) for name in names]
    bins = binned(names, means, edges, columns)
    base = mean(minutes)
    left_over = minutes .- base
    grown = Tree[]
    for _ in 1:trees
        tree, leaf = grow(bins, left_over, depth)
        tree = Tree(tree.feature, tree.bin, rate .* tree.leaves)
        left_over .-= tree.leaves[leaf]
        push!(grown, tree)
    end
    return Boosted(names, means, edges, base, grown)
end

function grow(bins, left_over, depth)
    leaf = ones(Int, length(left_over))
    features, cuts = Int[], Int[]
    for _ in 1:depth
        feature, cut = best_question(bins, left_over, leaf, 2^length(features))
        leaf .= 2 .* leaf .- (bins[:, feature] .<= cut)
        push!(features, feature)
        push!(cuts, cut)
    end
    sums, counts = totals(leaf, left_over, 2^depth)
    return Tree(features, cuts, sums ./ (counts .+ 20)), leaf
end

function totals(groups, values, count)
    sums, counts = zeros(count), zeros(count)
    for (group, value) in zip(groups, values)
        sums[group] += value
        counts[group] += 1
    end
    return sums, counts
end

"The feature and the bin that, asked of all leaves, lower the sum of squares most."
function best_question(bins, left_over, leaf, leaves)
    best = (-Inf, 1, 0)
    for feature in 1:size(bins, 2)
        gain, cut = best_cut(view(bins, :, feature), left_over, leaf, leaves)
        gain > best[1] && (best = (gain, feature, cut))
    end
    return best[2], best[3]
end

function best_cut(column, left_over, leaf, leaves)
    sums, counts = zeros(BINS + 1, leaves), zeros(BINS + 1, leaves)
    for i in eachindex(left_over)
        sums[column[i]+1, leaf[i]] += left_over[i]
        counts[column[i]+1, leaf[i]] += 1
    end
    below, rows_below = cumsum(sums; dims = 1), cumsum(counts; dims = 1)
    gain(cut) = sum(1:leaves) do l
        above, rows_above = below[end, l] - below[cut, l], rows_below[end, l] - rows_below[cut, l]
        below[cut, l]^2 / (rows_below[cut, l] + 1) + above^2 / (rows_above + 1)
    end
    gains = map(gain, 1:BINS)
    return maximum(gains), argmax(gains) - 1
end

leaf_of(tree, bins, row) =
    foldl((leaf, d) -> 2leaf - (bins[row, tree.feature[d]] <= tree.bin[d]), eachindex(tree.bin); init = 1)

function predict(model::Boosted, columns)
    bins = binned(model.names, model.means, model.edges, columns)
    return [model.base + sum(t -> t.leaves[leaf_of(t, bins, row)], model.trees) for row in 1:size(bins, 1)]
end
