<?php
// Router of PHP's built-in server: existing files as they are, everything else through WordPress.
register_shutdown_function(function () {
    $line = $_SERVER['REQUEST_METHOD'] . ' ' . $_SERVER['REQUEST_URI'] . ' [' . http_response_code() . "]\n";
    file_put_contents(getenv('ACCESS_LOG'), $line, FILE_APPEND | LOCK_EX);
});
$root = $_SERVER['DOCUMENT_ROOT'];
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($path !== '/' && is_file($root . $path) && substr($path, -4) !== '.php') {
    return false;
}
if (substr($path, -4) === '.php' && is_file($root . $path)) {
    $_SERVER['SCRIPT_NAME'] = $path;
    chdir(dirname($root . $path));
    require $root . $path;
    return true;
}
$_SERVER['SCRIPT_NAME'] = '/index.php';
chdir($root);
require $root . '/index.php';
