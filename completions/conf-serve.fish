# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_conf_serve_global_optspecs
    string join \n room= qr max-members= grace= room-grace= store= ephemeral history= history-age= store-quota= store-days= config= status= port= q/quiet v/verbose log-file= log-format= color= no-input completions= man h/help V/version
end

function __fish_conf_serve_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_conf_serve_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_conf_serve_using_subcommand
    set -l cmd (__fish_conf_serve_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c conf-serve -n "__fish_conf_serve_needs_command" -l room -d 'The room in the join link; others come into being when somebody joins them' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l max-members -d 'Members that a room takes' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l grace -d 'How long a member whose network broke is waited for' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l room-grace -d 'How long an empty room is kept' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l store -d 'Where messages, rooms and files are kept [default: $XDG_DATA_HOME/confkit, else ~/.local/share/confkit]' -r -F
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l history -d 'Messages that are kept of each room' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l history-age -d 'How long messages are kept' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l store-quota -d 'Bytes of files that are kept, of all rooms: 500M, 20G' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l store-days -d 'Days that a file is kept after the last of it came' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l config -d 'Settings in a file, each as NAME = VALUE, which take the place of the options --max-members, --grace, --room-grace, --history and --history-age; read again at SIGHUP' -r -F
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l status -d 'Show how the running server is, instead of starting one' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l port -d 'The port of the server that --status asks, where several are running' -r
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l log-file -d 'Write the log to a file instead of stderr (-: stderr)' -r -F
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l log-format -d 'How the log is written' -r -f -a "text\t'For people'
json\t'One JSON object a line'"
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l color -d 'When to use colours on stderr' -r -f -a "auto\t'Where it makes sense'
always\t'Everywhere'
never\t'Nowhere'"
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l completions -d 'Print the completions of a shell' -r -f -a "bash\t''
elvish\t''
fish\t''
powershell\t''
zsh\t''"
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l qr -d 'Show the join link as a QR code too'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l ephemeral -d 'Keep nothing: messages live as long as their room, files as long as the server'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -s q -l quiet -d 'Say less: errors only'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -s v -l verbose -d 'Say more; twice for everything'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l no-input -d 'Never ask anything'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -l man -d 'Print the manual page'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -s V -l version -d 'Print version'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -a "room" -d 'Make, list and remove rooms of the running server'
complete -c conf-serve -n "__fish_conf_serve_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and not __fish_seen_subcommand_from create list remove help" -s h -l help -d 'Print help'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and not __fish_seen_subcommand_from create list remove help" -f -a "create" -d 'Make a room that stays when it is empty'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and not __fish_seen_subcommand_from create list remove help" -f -a "list" -d 'List the rooms that are open or kept'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and not __fish_seen_subcommand_from create list remove help" -f -a "remove" -d 'Remove an empty room with all its messages'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and not __fish_seen_subcommand_from create list remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l password-file -d 'The room\'s password is the first line of this file, which nobody else may read; - is stdin' -r -F
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l max-members -d 'Members that it takes' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l history -d 'Messages that it keeps, instead of the server\'s --history' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l host -d 'Somebody else who is its host: a public key of 64 hex digits; may be repeated' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l port -d 'The server\'s port, where several are running' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l ask-password -d 'Ask for the room\'s password'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -l no-input -d 'Never ask anything'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from list" -l port -d 'The server\'s port, where several are running' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from list" -l json -d 'As JSON, for programs'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from remove" -l port -d 'The server\'s port, where several are running' -r
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make a room that stays when it is empty'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the rooms that are open or kept'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove an empty room with all its messages'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand room; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand help; and not __fish_seen_subcommand_from room help" -f -a "room" -d 'Make, list and remove rooms of the running server'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand help; and not __fish_seen_subcommand_from room help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand help; and __fish_seen_subcommand_from room" -f -a "create" -d 'Make a room that stays when it is empty'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand help; and __fish_seen_subcommand_from room" -f -a "list" -d 'List the rooms that are open or kept'
complete -c conf-serve -n "__fish_conf_serve_using_subcommand help; and __fish_seen_subcommand_from room" -f -a "remove" -d 'Remove an empty room with all its messages'
