"""The commented files that `dcfm-node init` writes; they load as they stand."""

NODE = """\
# Settings of one node. Relative paths are relative to this file's folder; "~/" is the user's.

# This silo's name, the same in everyone's peers.toml: a-z, 0-9, _ and -.
name = "silo-a"

# Journals, snapshots and checkpoints. The node makes the folder.
state = "state"

# Folder of sign.key and link.key, mode 0600. $CREDENTIALS_DIRECTORY goes first if it holds them.
keys = "keys"

# May this node be elected to distil the student? It then needs every silo's expert on its disk.
distils = true

# Where this node takes links: open these two TCP ports in the firewall for the peers. To open one
# alone, remove bulk here and below: snapshots come in at the other then. Remove the table to only
# dial out, which is all that NAT allows and needs no open port.
[listen]
control = "tcp://0.0.0.0:7400"
bulk = "tcp://0.0.0.0:7401"

# How peers reach it, as seen from outside: the public name or address, and the ports that a router
# forwards to those above; 'dcfm-node id' prints this for their peers.toml. Without it, peers wait
# for this node to dial them. Of two nodes, one at least must advertise, or a third both can dial.
# [advertise]
# control = "tcp://silo-a.example.org:7400"
# bulk = "tcp://silo-a.example.org:7401"

# The private data. It is read here and never leaves; peers learn the label counts only.
[data]
# "npz": arrays x (N, *sample_shape) and one (N,) per attribute, or c (N, attributes).
# Integers there are positions among the attribute's values, from 0, but the values themselves where
# all of these are integers ("1", "2", "3"). In x, floating point is taken as it is,
# uint8 is scaled to [-1, 1]. Samples that are there twice go to one side of the split.
format = "npz"
path = "data.npz"

# Fraction of the samples kept from training, to judge students with; at least one sample.
holdout = 0.1

# "idx": an MNIST-style pair of files, plain or gzip.
# format = "idx"
# path = "train-images-idx3-ubyte.gz"
# labels = "train-labels-idx1-ubyte.gz"

# "folder": images in folders named like digit=3,colour=red, or listed by a CSV file with the
# columns file, digit, colour: UTF-8, commas, each image once. resize = true resamples images of
# another size. An image is read as viewers show it: turned as its EXIF says, in sRGB, white as 1.
# What viewers do not agree on is refused: transparency (but where samples have four channels),
# several pictures in a file, CMYK, floating point, and 12 bits in a file of 16. Links are followed,
# and hidden files and folders passed over.
# format = "folder"
# path = "images"
# index = "index.csv"
# resize = false

# "builtin": a domain made on the spot, for trying things out. silo counts from 0.
# format = "builtin"
# name = "digits"
# silo = 0
# silos = 3
# seed = 0

# Where this silo's files speak of an attribute in other words than the run does:
# [data.attributes.digit]
# column = "label"
# values = { "three" = "3", "seven" = "7" }
#
# [data.attributes.colour]
# constant = "red"

# The training process.
[worker]
# "auto" takes CUDA where there is a GPU; "cpu"; "cuda".
device = "auto"
# Processes that share the training, one GPU each; 1 to 64.
devices = 1
# CPU threads of each process; 0 is one a core, or one if devices is above 1.
threads = 0
# On CUDA, evaluate networks in bfloat16: faster, and rounded to three digits.
bf16 = false
# On CUDA, let torch.compile fuse the networks: faster after minutes of compiling.
compile = false
# Seconds between two private checkpoints: what a crash may cost.
checkpoint_s = 20.0
# Seconds between two checkpoints of a student that this node distils and its peers fetch, so that
# another can go on: what it may cost when this node is lost. Each weighs four students.
publish_s = 600.0

[log]
# "console" for people, "json" for one object a line.
format = "console"
# "debug", "info", "warning" or "error".
level = "info"

[gossip]
# Seconds between two exchanges of journals with a random peer, 0.05 to 60.
interval_s = 1.0

[limits]
# Bytes of snapshots sent in a second, 65536 or more; 0 sets no limit.
upload = 0
"""

RUN = """\
# A run: all that its nodes must agree on. Give every node the same file; its digest, with the
# roster's keys, is the run's id, and nodes whose files differ take no part in each other's run.

name = "digits-in-colours"

# (features,) for vectors, (channels, height, width) for images.
sample_shape = [3, 8, 8]

# Who takes part; without it, everyone in peers.toml and the node itself.
# roster = ["silo-a", "silo-b", "silo-c"]

# The attribute space: one table per attribute, each with the names of its values.
[[attribute]]
name = "digit"
values = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

[[attribute]]
name = "colour"
values = ["red", "green", "blue", "yellow", "magenta", "cyan"]

# The velocity network that every silo and the student share.
[network]
# "mlp", or "unet" for images.
kind = "mlp"
# Hidden width of the mlp, or channels of the unet's finest resolution; 8 to 4096.
width = 256
# Residual blocks of the mlp, or resolutions of the unet; 1 to 16.
depth = 3
# "sample" predicts the clean sample, "velocity" the velocity itself.
predict = "sample"

[method]
# "dcfm", or a baseline to compare with. All methods have local, masks, solver, solver_steps,
# composed and seed. "fedflow" averages the parameters of one flow max_rounds times, at equal
# intervals of local.steps; it also has max_rounds. "ddm" mixes independent experts by label counts
# or by a gating network; it also has ema, top_k (how many experts every step keeps; 0 keeps all),
# routing ("label" or "trained") and, to train the gating network, distil. "dfd" mixes them by
# energies; it also has ema and top_k.
name = "dcfm"
# "alternating": a student, then all silos refine against it, in rounds. "paper": silos refine
# against each other's experts, and one student is distilled at the end.
schedule = "alternating"
# Rounds of refinement at least and at most, 1 to 1000.
min_rounds = 1
max_rounds = 3
# Converged when a round lowers the objective on hold-out data by no more than this fraction.
tolerance = 0.01
# Decay of the weights' moving average, which is what is published.
ema = 0.995
# Steps of the ODE solver, 1 to 1000; "euler", "midpoint", "heun" or "rk4".
solver_steps = 25
solver = "heun"
# Sample the student by composing its marginals; false asks its joint head.
composed = true
seed = 0

# How labels are masked in training: weights of full labels, one attribute alone, none.
[method.masks]
full = 0.6
marginal = 0.3
null = 0.1

# Stage I: every silo alone. ci_weight is lambda of the conditional-independence penalty, ci_batch
# how many of the batch bear it, product_share the share of its labels drawn from all combinations
# instead of the silo's own. patience stops the stage once the CI gap has not fallen for that many
# twentieths of its steps; 0 never does.
[method.local]
steps = 1000
batch = 128
learning_rate = 2e-3
ci_weight = 1.0
ci_batch = 32
product_share = 0.0
patience = 0

# Each round's refinement of the experts.
[method.refine]
steps = 1000
batch = 128
learning_rate = 1e-3
ci_weight = 1.0
ci_batch = 32
product_share = 0.5
patience = 0

# Each student's distillation, on samples of the experts: no private data is used.
[method.distil]
steps = 1000
batch = 128
learning_rate = 1e-3
ci_weight = 1.0
ci_batch = 32
product_share = 0.5
patience = 0

[policy]
# "strict" waits for every silo; "tolerant" goes on with a quorum once the rest stopped moving,
# and names the missing.
participation = "strict"
# A silo is late after this many seconds without progress.
stall_s = 600.0
# Nor is anyone's training, leading or snapshot waited for longer than this, whatever progress it
# shows: the longest that one stage may take a silo that is honest and slow. (Under "strict" its
# training is waited for all the same.)
duty_s = 86400.0
# The most that one silo weighs among all, however many samples it says to have; never less than an
# equal share.
max_share = 0.5
# A silo refuses a student whose velocity error on its hold-out data exceeds its own expert's by
# more than this factor; where a majority does, another node distils it again.
endorse_ratio = 2.0
# Every silo scores its peers' experts on its own hold-out data before they serve, and says so; one
# that a majority refuses, or over a third and most of those who hold combinations of its silo's, is
# used by nobody. Needs three silos; costs seconds a round.
audit = true

[transfer]
# "f32", or "bf16": weights are rounded to three digits before they are published, and everyone,
# their author too, goes on from them as they were published. Half the bytes.
precision = "f32"
# Publish each snapshot also as what changed since the one it was trained from, without loss; those
# who hold that one fetch the difference alone.
delta = false
"""
